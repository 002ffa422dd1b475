"""What the Open Inference Protocol tells of the server and of a model, and its OpenAPI schemas."""

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel

from aiplat.serving.open_inference.answers import DATATYPES, labels_parameter
from aiplat.serving.open_inference.tensors import BYTES, LENGTH_HEADER
from aiplat.serving.schemas import asking_refusals
from aiplat.serving.served import ModelInfo
from aiplat.tasks.fields import InputField, OutputField

EXTENSIONS = ("binary_tensor_data",)

_Parameters = dict[str, str | bool | int | float]

_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "parameters": {"type": "object"},
        "data": {"type": "array"},
    },
}
_OUTPUT: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
}
_REQUEST: dict[str, Any] = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {"type": "array", "minItems": 1, "items": _TENSOR},
        "outputs": {"type": "array", "items": _OUTPUT},
    },
}
_RESPONSE: dict[str, Any] = {
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {"type": "array", "items": _TENSOR},
    },
}


class ServerMetadata(BaseModel):
    """What this server is and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(BaseModel):
    """Whether this process is alive."""

    live: bool


class ServerReady(BaseModel):
    """Whether every model would answer a request now."""

    ready: bool


class ModelReady(BaseModel):
    """Whether a model would answer a request now."""

    name: str
    ready: bool


class TensorMetadata(BaseModel):
    """One input or output of a model; -1 in its shape is any size, the first is that of rows."""

    name: str
    datatype: str
    shape: list[int]
    parameters: _Parameters


class ModelMetadata(BaseModel):
    """What a model takes and answers."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


def server_metadata() -> ServerMetadata:
    """What is told of this server."""
    return ServerMetadata(name="aiplat", version=version("aiplat"), extensions=list(EXTENSIONS))


def model_metadata(info: ModelInfo) -> ModelMetadata:
    """What is told of a model."""
    return ModelMetadata(
        name=info.name,
        versions=[info.version],
        platform="aiplat",
        inputs=[_input(field) for field in info.inputs],
        outputs=[_output(field, info.labels) for field in info.outputs],
    )


def _input(field: InputField) -> TensorMetadata:
    return TensorMetadata(
        name=field.name,
        datatype="FP64" if field.kind == "number" else BYTES,
        shape=[-1],
        parameters={"kind": field.kind, "optional": not field.required},
    )


def _output(field: OutputField, labels: tuple[str, ...]) -> TensorMetadata:
    sizes = {"probabilities": [-1, len(labels)], "vector": [-1, -1]}
    return TensorMetadata(
        name=field.name,
        datatype=DATATYPES[field.kind],
        shape=sizes.get(field.kind, [-1]),
        parameters={"kind": field.kind, **labels_parameter(field.kind, labels)},
    )


def infer_operation() -> dict[str, Any]:
    """The OpenAPI description of an infer request and its answers."""
    lengths = "the bytes of JSON before those of the tensors"
    binary = {"schema": {"type": "string", "format": "binary"}}
    return {
        "parameters": [
            {
                "name": LENGTH_HEADER,
                "in": "header",
                "required": False,
                "description": f"Of a body with binary tensors: {lengths}.",
                "schema": {"type": "integer", "minimum": 0},
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": _REQUEST},
                "application/octet-stream": binary,
            },
        },
        "responses": {
            **asking_refusals(),
            "200": {
                "description": "One value a row in every output, in the order of the rows.",
                "headers": {
                    LENGTH_HEADER: {
                        "description": f"Where outputs are binary: {lengths}.",
                        "schema": {"type": "integer"},
                    }
                },
                "content": {
                    "application/json": {"schema": _RESPONSE},
                    "application/octet-stream": binary,
                },
            },
        },
    }
