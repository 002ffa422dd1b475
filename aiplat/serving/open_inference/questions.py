"""Read what an infer request asks: its tensors become rows, one field of a model a tensor."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from aiplat.serving.asking import Question
from aiplat.serving.config import ServingConfig
from aiplat.serving.fields import got, nearest
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.open_inference.answers import Wanted, answer
from aiplat.serving.open_inference.tensors import (
    BYTES,
    LENGTH_HEADER,
    NUMBERS,
    TensorError,
    flatten,
    unpack,
)
from aiplat.serving.problems import ProblemError
from aiplat.serving.requests import check_rows, parse_json, require_row_count, wrong_shape
from aiplat.serving.served import Answers, ModelInfo
from aiplat.tasks.fields import InputField, OutputField

_ROWS = "rows"
_LENGTH = re.compile(r"[0-9]{1,18}")
# They ask for another answer than the one they would get if they were passed over.
_NOT_TAKEN = (
    "classification",
    "sequence_id",
    "shared_memory_byte_size",
    "shared_memory_offset",
    "shared_memory_region",
)


@dataclass(frozen=True)
class _Input:
    """One tensor as the request describes it. data: None where it follows the JSON."""

    at: str
    field: InputField
    datatype: str
    num_rows: int
    data: list[Any] | None
    num_bytes: int


async def read_question(request: Request, info: ModelInfo, config: ServingConfig) -> Question:
    """What an infer request asks. Raises ProblemError, naming what is wrong."""
    head, tail = _split(await request.body(), request.headers.get(LENGTH_HEADER))
    body = _object("body", parse_json(head))
    request_id = _text("id", body.get("id", ""))
    parameters = _parameters("parameters", body)
    inputs = [
        _input(f"inputs[{index}]", _object(f"inputs[{index}]", raw), info.inputs)
        for index, raw in enumerate(_tensors("inputs", body.get("inputs"), info.inputs))
    ]
    num_rows = _num_rows(inputs, config)
    wanted = _wanted(body, info, _flag("parameters", parameters, "binary_data_output"))
    columns = _columns(inputs, tail)
    raw_rows = [{name: values[row] for name, values in columns.items()} for row in range(num_rows)]
    rows = check_rows(_ROWS, raw_rows, info.inputs, config)

    def reply(answers: Answers, record: UsageRecord) -> Response:
        # While an update rolls out, a replica of another version may be the one that answered.
        if "version" in request.path_params and answers.version != info.version:
            raise ProblemError(404, f"version {info.version} of {info.name} is being replaced")
        return answer(wanted, request_id, answers, record)

    return Question(rows, reply, _ROWS)


def _split(body: bytes, length: str | None) -> tuple[bytes, memoryview]:
    """The JSON of a body, and the bytes that follow it."""
    if length is None:
        return body, memoryview(b"")
    size = int(length) if _LENGTH.fullmatch(length) else -1
    if not 0 <= size <= len(body):
        raise ProblemError(
            400,
            f"{LENGTH_HEADER} is {length[:40]!r}, expected the bytes of JSON that the body of "
            f"{len(body)} bytes begins with",
        )
    return body[:size], memoryview(body)[size:]


def _tensors(at: str, value: Any, fields: Sequence[InputField | OutputField]) -> list[Any]:
    tensors = _array(at, value)
    if len(tensors) > len(fields):
        raise wrong_shape(at, f"has {len(tensors)} tensors, the model has {len(fields)}")
    return tensors


def _input(at: str, raw: Mapping[str, Any], fields: Sequence[InputField]) -> _Input:
    name = _text(f"{at}.name", raw.get("name"))
    field = next((field for field in fields if field.name == name), None)
    if field is None:
        known = nearest(name, [field.name for field in fields])
        raise wrong_shape(f"{at}.name", f"is not an input of this model{known}")
    datatype = _text(f"{at}.datatype", raw.get("datatype"))
    expected = tuple(NUMBERS) if field.kind == "number" else (BYTES,)
    if datatype not in expected:
        raise wrong_shape(
            f"{at}.datatype", f"is {datatype[:40]!r}, {name} takes {', '.join(expected)}"
        )
    parameters = _parameters(f"{at}.parameters", raw)
    data, num_bytes = raw.get("data"), parameters.get("binary_data_size")
    if (data is None) == (num_bytes is None):
        count = "both" if data is not None else "none"
        raise wrong_shape(at, f"has {count} of data and parameters.binary_data_size, expected one")
    return _Input(
        at=at,
        field=field,
        datatype=datatype,
        num_rows=_length(f"{at}.shape", _array(f"{at}.shape", raw.get("shape"))),
        data=None if data is None else _array(f"{at}.data", data),
        num_bytes=0
        if num_bytes is None
        else _count(f"{at}.parameters.binary_data_size", num_bytes),
    )


def _length(at: str, shape: Sequence[Any]) -> int:
    """Rows of a tensor of shape [rows] or [rows, 1]."""
    sizes = [_count(f"{at}[{index}]", size) for index, size in enumerate(shape[:3])]
    if len(sizes) not in (1, 2) or sizes[1:] not in ([], [1]):
        raise wrong_shape(at, f"is {sizes}, expected [rows] or [rows, 1]")
    return sizes[0]


def _num_rows(inputs: Sequence[_Input], config: ServingConfig) -> int:
    """Rows of the request, by the shapes of its tensors, which must agree."""
    first = inputs[0].num_rows if inputs else 0
    names = set()
    for tensor in inputs:
        if tensor.num_rows != first:
            raise wrong_shape(
                f"{tensor.at}.shape",
                f"says {tensor.num_rows} rows, but {inputs[0].at}.shape says {first}",
            )
        if tensor.field.name in names:
            raise wrong_shape(f"{tensor.at}.name", f"is {tensor.field.name} for the second time")
        names.add(tensor.field.name)
    require_row_count(first, config)
    return first


def _columns(inputs: Sequence[_Input], tail: memoryview) -> dict[str, list[Any]]:
    """The values of each tensor, as a row of a JSON request would hold them, images as bytes."""
    columns = {}
    for tensor in inputs:
        data, tail = tail[: tensor.num_bytes], tail[tensor.num_bytes :]
        try:
            columns[tensor.field.name] = _values(tensor, data)
        except TensorError as error:
            raise wrong_shape(tensor.at, str(error)) from error
    if tail:
        raise wrong_shape("body", f"goes on for {len(tail)} bytes after its last tensor")
    return columns


def _values(tensor: _Input, data: memoryview) -> list[Any]:
    if tensor.data is not None:
        return flatten(tensor.datatype, tensor.data, tensor.num_rows)
    if len(data) != tensor.num_bytes:
        raise TensorError(
            f"has a binary_data_size of {tensor.num_bytes}, and {len(data)} bytes are left"
        )
    values = unpack(tensor.datatype, data, tensor.num_rows)
    return [_decoded(*item) for item in enumerate(values)] if _is_text(tensor) else values


def _is_text(tensor: _Input) -> bool:
    return tensor.field.kind in ("text", "category")


def _decoded(index: int, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise TensorError(f"has a value {index} that is not UTF-8: {error.reason}") from error


def _wanted(body: Mapping[str, Any], info: ModelInfo, is_binary: bool) -> list[Wanted]:
    """The outputs to answer with, all of the model where the request names none."""
    asked = _tensors("outputs", body.get("outputs", []), info.outputs)
    if not asked:
        return [Wanted(field, info.labels, is_binary) for field in info.outputs]
    fields = {field.name: field for field in info.outputs}
    wanted: dict[str, Wanted] = {}
    for index, item in enumerate(asked):
        at = f"outputs[{index}]"
        raw = _object(at, item)
        name = _text(f"{at}.name", raw.get("name"))
        if name not in fields:
            raise wrong_shape(
                f"{at}.name", f"is not an output of this model{nearest(name, fields)}"
            )
        if name in wanted:
            raise wrong_shape(f"{at}.name", f"is {name} for the second time")
        parameters = _parameters(f"{at}.parameters", raw)
        own = _flag(f"{at}.parameters", parameters, "binary_data", is_binary)
        wanted[name] = Wanted(fields[name], info.labels, own)
    return list(wanted.values())


def _parameters(at: str, holder: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = _object(at, holder.get("parameters") or {})
    for name in _NOT_TAKEN:
        if name in parameters:
            raise wrong_shape(f"{at}.{name}", "is of an extension that this server does not have")
    return parameters


def _flag(at: str, parameters: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = parameters.get(name, default)
    if not isinstance(value, bool):
        raise wrong_shape(f"{at}.{name}", f"must be true or false, {got(value)}")
    return value


def _count(at: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise wrong_shape(at, f"must be a whole number from 0, {got(value)}")
    return value


def _text(at: str, value: Any) -> str:
    if not isinstance(value, str):
        raise wrong_shape(at, "is required" if value is None else f"must be a string, {got(value)}")
    return value


def _array(at: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise wrong_shape(at, "is required" if value is None else f"must be an array, {got(value)}")
    return value


def _object(at: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise wrong_shape(at, f"must be an object, {got(value)}")
    return value
