"""The protocol's remote procedure calls as the requests over HTTP that ask the same.

It knows messages and bodies, and neither who sends them nor how.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from google.protobuf.message import Message

from aiplat.errors import AiplatError
from aiplat.serving.open_inference.messages import message_class
from aiplat.serving.open_inference.tensors import BYTES, LENGTH_HEADER, pack_bytes
from aiplat.serving.problems import OPEN_INFERENCE

# Where a tensor has its values by type, if they are not beside it as bytes.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
_PARAMETERS: dict[type, str] = {
    bool: "bool_param",
    int: "int64_param",
    float: "double_param",
    str: "string_param",
}


class MessageError(AiplatError):
    """A message that says what no request over HTTP could."""


@dataclass(frozen=True)
class Asked:
    """A request over HTTP: a POST where it has a body."""

    path: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Answered:
    """An answer over HTTP. headers: their names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_answer(self) -> bool:
        """Whether it is what was asked for, and no refusal; "not ready" is an answer."""
        return self.status == 200 or (self.status == 503 and "ready" in self.said)

    @property
    def said(self) -> Mapping[str, Any]:
        """The object in the body; empty where there is none."""
        try:
            said = json.loads(self.body)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}


@dataclass(frozen=True)
class Rpc:
    """One call of the service.

    asked: of a message of the class `request`; raises MessageError. answer: a message of the class
    `response`, of what is an answer.
    """

    request: type[Message]
    response: type[Message]
    asked: Callable[[Any], Asked]
    answer: Callable[[Answered], Message]


def _rpc(name: str, asked: Callable[[Any], Asked], *fields: str) -> Rpc:
    """A call whose answer's fields are called in JSON as they are in the message."""
    response = message_class(f"{name}Response")

    def answer(answered: Answered) -> Message:
        said = answered.said
        return response(**{name: said[name] for name in fields})

    return Rpc(message_class(f"{name}Request"), response, asked, answer)


def _model_path(name: str, version: str) -> str:
    path = f"{OPEN_INFERENCE}/models/{_segment(name)}"
    return f"{path}/versions/{_segment(version)}" if version else path


def _segment(text: str) -> str:
    # Two dots alone would be another path.
    return quote(text, safe="").replace(".", "%2E")


def _infer(message: Any) -> Asked:
    raw = message.raw_input_contents
    if raw and (len(raw) != len(message.inputs) or any(map(_has_contents, message.inputs))):
        raise MessageError(
            f"raw_input_contents has {len(raw)} tensors for {len(message.inputs)} inputs, of which "
            f"{sum(map(_has_contents, message.inputs))} have contents: expected one for each "
            "input, and no contents; or contents in all, and no raw_input_contents"
        )
    tensors = [
        _input(tensor, raw[index] if raw else None) for index, tensor in enumerate(message.inputs)
    ]
    body = {
        "id": message.id,
        "parameters": _parameters(message) | {"binary_data_output": True},
        "inputs": [described for described, _ in tensors],
        "outputs": [
            {"name": output.name, "parameters": _parameters(output) | {"binary_data": True}}
            for output in message.outputs
        ],
    }
    head = json.dumps(body, ensure_ascii=False).encode()
    return Asked(
        f"{_model_path(message.model_name, message.model_version)}/infer",
        b"".join([head, *(data for _, data in tensors)]),
        {LENGTH_HEADER: str(len(head)), "Content-Type": "application/octet-stream"},
    )


def _has_contents(tensor: Any) -> bool:
    return tensor.HasField("contents")


def _input(tensor: Any, raw: bytes | None) -> tuple[dict[str, Any], bytes]:
    """The description of an input, with its values where they are not the bytes beside it."""
    described = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "parameters": _parameters(tensor),
    }
    if raw is None and tensor.datatype != BYTES:
        contents = _CONTENTS.get(tensor.datatype)
        values = getattr(tensor.contents, contents) if contents else ()
        return described | {"data": list(values)}, b""
    data = pack_bytes(tensor.contents.bytes_contents) if raw is None else raw
    described["parameters"] |= {"binary_data_size": len(data)}
    return described, data


def _infer_answer(answered: Answered) -> Message:
    length = int(answered.headers[LENGTH_HEADER.lower()])
    said, tail = json.loads(answered.body[:length]), memoryview(answered.body)[length:]
    message: Any = message_class("ModelInferResponse")(
        model_name=said["model_name"], model_version=said["model_version"], id=said.get("id", "")
    )
    _add_parameters(message, said["parameters"])
    for output in said["outputs"]:
        parameters = dict(output["parameters"])
        size = parameters.pop("binary_data_size")
        tensor = message.outputs.add(
            name=output["name"], datatype=output["datatype"], shape=output["shape"]
        )
        _add_parameters(tensor, parameters)
        message.raw_output_contents.append(bytes(tail[:size]))
        tail = tail[size:]
    return message


def _parameters(message: Any) -> dict[str, Any]:
    chosen = {
        name: (value, value.WhichOneof("choice")) for name, value in message.parameters.items()
    }
    return {name: getattr(value, kind) for name, (value, kind) in chosen.items() if kind}


def _add_parameters(message: Any, parameters: Mapping[str, Any]) -> None:
    for name, value in parameters.items():
        setattr(message.parameters[name], _PARAMETERS[type(value)], value)


def _tensors(said: Sequence[Mapping[str, Any]]) -> list[Message]:
    made = message_class("TensorMetadata")
    return [
        made(name=item["name"], datatype=item["datatype"], shape=item["shape"]) for item in said
    ]


def _model_metadata(answered: Answered) -> Message:
    said = answered.said
    return message_class("ModelMetadataResponse")(
        name=said["name"],
        versions=said["versions"],
        platform=said["platform"],
        inputs=_tensors(said["inputs"]),
        outputs=_tensors(said["outputs"]),
    )


def _of_model(message: Any) -> Asked:
    return Asked(_model_path(message.name, message.version))


def _of_model_ready(message: Any) -> Asked:
    return Asked(f"{_model_path(message.name, message.version)}/ready")


RPCS: Mapping[str, Rpc] = {
    "ServerLive": _rpc("ServerLive", lambda _: Asked(f"{OPEN_INFERENCE}/health/live"), "live"),
    "ServerReady": _rpc("ServerReady", lambda _: Asked(f"{OPEN_INFERENCE}/health/ready"), "ready"),
    "ServerMetadata": _rpc(
        "ServerMetadata", lambda _: Asked(OPEN_INFERENCE), "name", "version", "extensions"
    ),
    "ModelReady": _rpc("ModelReady", _of_model_ready, "ready"),
    "ModelMetadata": Rpc(
        message_class("ModelMetadataRequest"),
        message_class("ModelMetadataResponse"),
        _of_model,
        _model_metadata,
    ),
    "ModelInfer": Rpc(
        message_class("ModelInferRequest"),
        message_class("ModelInferResponse"),
        _infer,
        _infer_answer,
    ),
}
