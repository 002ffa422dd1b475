"""What the endpoint answers, as objects; fields that later endpoints add are passed over."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import httpx

from aiplat.client.errors import ClientError


@dataclass(frozen=True)
class Predictions:
    """One answer a row, as dicts of the model's outputs, and where they come from."""

    model: str
    version: str
    prediction_id: str
    request_id: str
    rows: tuple[dict[str, Any], ...]


@dataclass(frozen=True)
class ModelSummary:
    """One model of the endpoint. dataset: the version of the data it was trained on."""

    name: str
    version: str
    dataset: str


@dataclass(frozen=True)
class Field:
    """One field of a row or of an answer. kind: `image`, `text`, `label` and so on."""

    name: str
    kind: str
    description: str = ""
    required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelDescription(ModelSummary):
    """What a model takes, answers and was measured at.

    metrics: split -> metric -> value. example: a row that `predict` takes as it is.
    """

    labels: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, float | None]]
    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    example: Mapping[str, Any]


def predictions(response: httpx.Response) -> Predictions:
    """What a predict request is answered with. Raises ClientError."""
    body = _body(response, "model", "version", "prediction_id", "predictions")
    return Predictions(
        model=body["model"],
        version=body["version"],
        prediction_id=body["prediction_id"],
        request_id=response.headers.get("X-Request-Id", ""),
        rows=tuple(body["predictions"]),
    )


def model_list(response: httpx.Response) -> tuple[ModelSummary, ...]:
    """The models of an endpoint. Raises ClientError."""
    models = _body(response, "models")["models"]
    return tuple(ModelSummary(item["name"], item["version"], item["dataset"]) for item in models)


def model_description(response: httpx.Response) -> ModelDescription:
    """A model. Raises ClientError."""
    names = [field.name for field in fields(ModelDescription)]
    body = _body(response, *names)
    return ModelDescription(
        **{name: body[name] for name in ("name", "version", "dataset", "metrics")},
        labels=tuple(body["labels"]),
        inputs=tuple(_field(item) for item in body["inputs"]),
        outputs=tuple(_field(item) for item in body["outputs"]),
        example=body["example"]["inputs"][0],
    )


def _field(item: Mapping[str, Any]) -> Field:
    return Field(
        name=item["name"],
        kind=item["kind"],
        description=item.get("description", ""),
        required=item.get("required", False),
        choices=tuple(item.get("choices", ())),
    )


def _body(response: httpx.Response, *names: str) -> Mapping[str, Any]:
    """The JSON object of a response, with at least the fields `names`."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or not set(names) <= body.keys():
        raise ClientError(
            f"{response.url} answered {response.text[:80]!r}, expected an object with "
            f"{', '.join(names)}: is it an aiplat endpoint?"
        )
    return body
