"""Values as the Open Inference Protocol writes them: in JSON, or as bytes that follow the JSON.

It knows the protocol's datatypes and nothing of models, fields or HTTP.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

LENGTH_HEADER = "Inference-Header-Content-Length"

# BYTES, and these, whose elements have a size; little-endian, as the protocol says.
NUMBERS = {
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
}
BYTES = "BYTES"

_SIZE = struct.Struct("<I")


class TensorError(ValueError):
    """Values do not fit what is said of them; the message goes on from the tensor's name."""


def unpack(datatype: str, data: memoryview, num_values: int) -> list[Any]:
    """The values of a tensor in binary form: numbers, or bytes. Raises TensorError."""
    if datatype == BYTES:
        return _unpack_bytes(data, num_values)
    dtype = np.dtype(NUMBERS[datatype])
    if len(data) != num_values * dtype.itemsize:
        raise TensorError(
            f"is {len(data)} bytes long, expected {num_values * dtype.itemsize}: "
            f"{num_values} of {datatype}"
        )
    return np.frombuffer(data, dtype).tolist()


def _unpack_bytes(data: memoryview, num_values: int) -> list[bytes]:
    values: list[bytes] = []
    begin = 0
    while begin < len(data):
        if len(values) == num_values:
            raise TensorError(f"goes on after its {num_values} values")
        if begin + _SIZE.size > len(data):
            raise TensorError(f"ends within the size of value {len(values)}")
        (size,) = _SIZE.unpack_from(data, begin)
        begin += _SIZE.size
        if size > len(data) - begin:
            raise TensorError(
                f"ends within value {len(values)}: it is said to be {size} bytes long, "
                f"and {len(data) - begin} are left"
            )
        values.append(bytes(data[begin : begin + size]))
        begin += size
    if len(values) != num_values:
        raise TensorError(f"holds {len(values)} values, expected {num_values} by its shape")
    return values


def flatten(datatype: str, data: Sequence[Any], num_values: int) -> list[Any]:
    """The values of a tensor in JSON, given in a row or one to a list. Raises TensorError."""
    if len(data) != num_values:
        raise TensorError(f"holds {len(data)} values, expected {num_values} by its shape")
    values = [item[0] if isinstance(item, list) and len(item) == 1 else item for item in data]
    if "INT" in datatype:
        for index, value in enumerate(values):
            if isinstance(value, float) and not value.is_integer():
                raise TensorError(f"is said to be {datatype}, but value {index} is {value}")
    return values


def pack(datatype: str, values: Iterable[Any]) -> bytes:
    """The values in binary form; texts as UTF-8."""
    if datatype == BYTES:
        return pack_bytes(value.encode() for value in values)
    # What is beyond 32 bits becomes infinite, as everywhere in this datatype.
    with np.errstate(over="ignore"):
        return np.asarray(list(values)).astype(NUMBERS[datatype]).tobytes()


def pack_bytes(values: Iterable[bytes]) -> bytes:
    """The values of a tensor of BYTES in binary form."""
    return b"".join(part for value in values for part in (_SIZE.pack(len(value)), value))
