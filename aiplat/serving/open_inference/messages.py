"""The messages of the Open Inference Protocol over gRPC, as Python classes.

They are made of a pool of their own: whoever imports a stock client beside us has the same names
in protobuf's default pool.
"""

import re

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_OPTIONAL, _REPEATED = FieldDescriptorProto.LABEL_OPTIONAL, FieldDescriptorProto.LABEL_REPEATED
_PARAMETERS = "map<string, InferParameter> parameters"
# As the protocol numbers them; names of messages inside others are not part of what is sent.
_FIELDS = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "bool live = 1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "bool ready = 1",
    "ModelReadyRequest": "string name = 1; string version = 2",
    "ModelReadyResponse": "bool ready = 1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "string name = 1; string version = 2; repeated string extensions = 3",
    "ModelMetadataRequest": "string name = 1; string version = 2",
    "ModelMetadataResponse": "string name = 1; repeated string versions = 2; string platform = 3; "
    "repeated TensorMetadata inputs = 4; repeated TensorMetadata outputs = 5",
    "TensorMetadata": "string name = 1; string datatype = 2; repeated int64 shape = 3",
    "InferParameter": "oneof bool bool_param = 1; oneof int64 int64_param = 2; "
    "oneof string string_param = 3; oneof double double_param = 4; oneof uint64 uint64_param = 5",
    "InferTensorContents": "repeated bool bool_contents = 1; repeated int32 int_contents = 2; "
    "repeated int64 int64_contents = 3; repeated uint32 uint_contents = 4; "
    "repeated uint64 uint64_contents = 5; repeated float fp32_contents = 6; "
    "repeated double fp64_contents = 7; repeated bytes bytes_contents = 8",
    "InferInputTensor": "string name = 1; string datatype = 2; repeated int64 shape = 3; "
    f"{_PARAMETERS} = 4; InferTensorContents contents = 5",
    "InferRequestedOutputTensor": f"string name = 1; {_PARAMETERS} = 2",
    "InferOutputTensor": "string name = 1; string datatype = 2; repeated int64 shape = 3; "
    f"{_PARAMETERS} = 4; InferTensorContents contents = 5",
    "ModelInferRequest": "string model_name = 1; string model_version = 2; string id = 3; "
    f"{_PARAMETERS} = 4; repeated InferInputTensor inputs = 5; "
    "repeated InferRequestedOutputTensor outputs = 6; repeated bytes raw_input_contents = 7",
    "ModelInferResponse": "string model_name = 1; string model_version = 2; string id = 3; "
    f"{_PARAMETERS} = 4; repeated InferOutputTensor outputs = 5; "
    "repeated bytes raw_output_contents = 6",
}
_FIELD = re.compile(
    r"(?:(?P<label>repeated|oneof) )?(?P<type>\w+|map<string, \w+>) (?P<name>\w+) = (?P<number>\d+)"
)


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(name="aiplat_open_inference", package=PACKAGE, syntax="proto3")
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for found in _FIELD.finditer(fields):
            _add_field(message, found)
    return file


def _add_field(message: DescriptorProto, found: re.Match[str]) -> None:
    written = found["type"]
    field = message.field.add(name=found["name"], number=int(found["number"]))
    is_map = written.startswith("map<")
    is_repeated = is_map or found["label"] == "repeated"
    field.label = _REPEATED if is_repeated else _OPTIONAL
    if is_map:
        value = written.removeprefix("map<string, ").removesuffix(">")
        written = f"{message.name}.{_add_entry(message, value)}"
    _set_type(field, written)
    if found["label"] == "oneof":
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index = 0


def _add_entry(message: DescriptorProto, value: str) -> str:
    """What protobuf makes of a map: a list of entries, each a message with these two fields."""
    entry = message.nested_type.add(name="ParametersEntry")
    entry.options.map_entry = True
    for number, (name, written) in enumerate((("key", "string"), ("value", value)), start=1):
        field = entry.field.add(name=name, number=number)
        field.label = _OPTIONAL
        _set_type(field, written)
    return entry.name


def _set_type(field: FieldDescriptorProto, written: str) -> None:
    scalar = f"TYPE_{written.upper()}"
    if scalar in FieldDescriptorProto.Type.keys():  # noqa: SIM118 (it is no dictionary)
        field.type = FieldDescriptorProto.Type.Value(scalar)
    else:
        field.type_name = f".{PACKAGE}.{written}"


_POOL = DescriptorPool()
_POOL.AddSerializedFile(_file().SerializeToString())


def message_class(name: str) -> type[Message]:
    """The class of a message."""
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
