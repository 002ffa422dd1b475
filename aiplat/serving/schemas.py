"""JSON schemas and examples of a model's requests and answers, made from its task's fields."""

import base64
import functools
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from PIL import Image
from pydantic import BaseModel

from aiplat.serving.config import ServingConfig
from aiplat.serving.problems import MEDIA_TYPE
from aiplat.serving.requests import FORM, JSON
from aiplat.serving.served import ModelInfo, Row
from aiplat.tasks.fields import InputField, OutputField

Schema = dict[str, Any]
_STRING: Schema = {"type": "string"}


class Field(BaseModel):
    """One field of a request row or of an answer."""

    name: str
    kind: str
    description: str = ""


class RequestField(Field):
    """One field of a request row."""

    required: bool
    choices: list[str]


class ModelSummary(BaseModel):
    """One model of this endpoint."""

    name: str
    version: str
    dataset: str


class ModelList(BaseModel):
    """The models of this endpoint."""

    models: list[ModelSummary]


class ModelDescription(ModelSummary):
    """What a model takes, answers and was measured at, with a request that works as it is."""

    labels: list[str]
    metrics: dict[str, dict[str, float | None]]
    inputs: list[RequestField]
    outputs: list[Field]
    example: dict[str, Any]


class Health(BaseModel):
    """Whether the endpoint, and each model where asked for, can answer."""

    status: str
    models: dict[str, bool] = {}


def summary(info: ModelInfo) -> ModelSummary:
    """One line of the list of models."""
    return ModelSummary(name=info.name, version=info.version, dataset=info.dataset)


def description(info: ModelInfo) -> ModelDescription:
    """All that is told of a model."""
    return ModelDescription(
        name=info.name,
        version=info.version,
        dataset=info.dataset,
        labels=list(info.labels),
        metrics={split: _finite_or_none(metrics) for split, metrics in info.metrics.items()},
        inputs=[RequestField(**_without_example(field)) for field in info.inputs],
        outputs=[Field(**asdict(field)) for field in info.outputs],
        example={"inputs": [example_row(info.inputs)]},
    )


def _finite_or_none(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def example_row(inputs: Sequence[InputField]) -> dict[str, Any]:
    """A row as a JSON request holds it, every field given."""
    row = model_row(inputs)
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def model_row(inputs: Sequence[InputField]) -> Row:
    """A row as a model takes it, every field given: the task's examples, or plain values."""
    return {
        field.name: _plain_value(field) if field.example is None else field.example
        for field in inputs
    }


def predict_operation(info: ModelInfo, config: ServingConfig) -> Schema:
    """The OpenAPI description of a model's predict request and its answers."""
    return {
        "requestBody": {
            "required": True,
            "content": {
                JSON: {
                    "schema": request_schema(info.inputs, config.max_rows),
                    "example": {"inputs": [example_row(info.inputs)]},
                },
                FORM: {"schema": form_schema(info.inputs)},
            },
        },
        "responses": {
            "200": {
                "description": "One prediction a row, in the order of the rows.",
                "content": {JSON: {"schema": answer_schema(info)}},
            },
            **asking_refusals(),
        },
    }


def refusals(needs_key: bool) -> dict[int | str, Schema]:
    """The answers to who is not let in, where a key is needed."""
    if not needs_key:
        return {}
    texts = {
        401: "The API key is missing, unknown, revoked or expired.",
        403: "The API key may not ask this model, or not from this address.",
        429: "The API key asks too often, or has used its quota; `Retry-After` says when to ask.",
    }
    return {status: _problem(text) for status, text in texts.items()}


def request_schema(inputs: Sequence[InputField], max_rows: int) -> Schema:
    """The schema of a JSON request."""
    rows = {"type": "array", "minItems": 1, "maxItems": max_rows, "items": row_schema(inputs)}
    return {
        "type": "object",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {"inputs": rows},
    }


def row_schema(inputs: Sequence[InputField]) -> Schema:
    """The schema of one row of a JSON request."""
    return {
        "type": "object",
        "required": [field.name for field in inputs if field.required],
        "additionalProperties": False,
        "properties": {field.name: _input_schema(field) for field in inputs},
    }


def form_schema(inputs: Sequence[InputField]) -> Schema:
    """The schema of a form: one row, or several where fields are repeated."""
    properties = {
        field.name: {"type": "string", "format": "binary", "description": field.description}
        if field.kind == "image"
        else _input_schema(field)
        for field in inputs
    }
    return {**row_schema(inputs), "properties": properties}


def answer_schema(info: ModelInfo) -> Schema:
    """The schema of an answer."""
    prediction = {
        "type": "object",
        "properties": {field.name: _output_schema(field, info.labels) for field in info.outputs},
    }
    return {
        "type": "object",
        "required": ["model", "version", "prediction_id", "predictions"],
        "properties": {
            "model": {"type": "string"},
            "version": {"type": "string"},
            "prediction_id": {"type": "string"},
            "predictions": {"type": "array", "items": prediction},
        },
    }


def _input_schema(field: InputField) -> Schema:
    kinds: dict[str, Schema] = {
        "category": {"type": "string", **({"enum": list(field.choices)} if field.choices else {})},
        "image": {"type": "string", "contentEncoding": "base64"},
        "number": {"type": "number"},
        "text": {"type": "string"},
    }
    told = f"{field.description} " if field.description else ""
    hints = {"image": "The base64 of an image file, or a data URL.", "number": "A finite number."}
    return {**kinds[field.kind], "description": f"{told}{hints.get(field.kind, '')}".strip()}


def _output_schema(field: OutputField, labels: Sequence[str]) -> Schema:
    number = {"type": "number"}
    kinds: dict[str, Schema] = {
        "label": {"type": "string", **({"enum": list(labels)} if labels else {})},
        "number": number,
        "probabilities": {"type": "object", "additionalProperties": number},
        "text": {"type": "string"},
        "vector": {"type": "array", "items": number},
    }
    return {**kinds[field.kind], "description": field.description}


def wrong_request() -> dict[int | str, Schema]:
    """How any request may be refused."""
    return {"4XX": _problem("The request is wrong; `field` says where.")}


def asking_refusals() -> dict[str, Schema]:
    """How a request that is asked of a model may be refused besides."""
    busy = _problem("The model has too much to do; try again after `Retry-After`.")
    busy["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return {"503": busy, "504": _problem("The model did not answer in time.")}


def _problem(text: str) -> Schema:
    properties = {
        **dict.fromkeys(("type", "title", "detail", "request_id"), _STRING),
        "status": {"type": "integer"},
    }
    fault = {"type": "object", "properties": dict.fromkeys(("field", "detail"), _STRING)}
    optional = {"field": _STRING, "errors": {"type": "array", "items": fault}, "error": _STRING}
    schema = {
        "type": "object",
        "required": list(properties),
        "properties": {**properties, **optional},
    }
    return {"description": text, "content": {MEDIA_TYPE: {"schema": schema}}}


def _plain_value(field: InputField) -> Any:
    plain: dict[str, Any] = {
        "category": field.choices[0] if field.choices else "a",
        "image": _plain_image(),
        "number": 1.0,
        "text": "a text",
    }
    return plain[field.kind]


@functools.cache
def _plain_image() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (16, 16), (31, 119, 180)).save(stream, "PNG")
    return stream.getvalue()


def _without_example(field: InputField) -> dict[str, Any]:
    return {
        "name": field.name,
        "kind": field.kind,
        "required": field.required,
        "choices": list(field.choices),
        "description": field.description,
    }
