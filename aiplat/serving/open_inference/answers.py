"""Word a model's answers as the tensors of an infer response."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response

from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.open_inference.tensors import BYTES, LENGTH_HEADER, pack
from aiplat.serving.served import Answer, Answers
from aiplat.tasks.fields import OutputField

DATATYPES = {
    "label": BYTES,
    "number": "FP64",
    "probabilities": "FP32",
    "text": BYTES,
    "vector": "FP32",
}


@dataclass(frozen=True)
class Wanted:
    """An output to answer with. labels: of the model, in the order of its probabilities."""

    field: OutputField
    labels: tuple[str, ...]
    is_binary: bool


def answer(
    wanted: Sequence[Wanted], request_id: str, answers: Answers, record: UsageRecord
) -> Response:
    """The response: JSON, and after it the tensors that were asked for in binary form."""
    tensors = [_tensor(output, answers.rows) for output in wanted]
    body = {
        "model_name": record.endpoint,
        "model_version": answers.version,
        **({"id": request_id} if request_id else {}),
        "parameters": {"prediction_id": record.prediction_id},
        "outputs": [description for description, _ in tensors],
    }
    # An id may hold half of a surrogate pair, which is then written as its escape.
    head = json.dumps(body, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace")
    if not any(output.is_binary for output in wanted):
        return Response(head, media_type="application/json")
    return Response(
        b"".join([head, *(data for _, data in tensors)]),
        headers={LENGTH_HEADER: str(len(head))},
        media_type="application/octet-stream",
    )


def labels_parameter(kind: str, labels: Sequence[str]) -> dict[str, str]:
    """What the columns of probabilities stand for: JSON in a string, as parameters are no lists."""
    return {"labels": json.dumps(labels, ensure_ascii=False)} if kind == "probabilities" else {}


def _tensor(wanted: Wanted, rows: Sequence[Answer]) -> tuple[dict[str, Any], bytes]:
    """The description of an output, with its values where they are not the bytes beside it."""
    field = wanted.field
    shape, values = _values(wanted, [row[field.name] for row in rows])
    datatype = DATATYPES[field.kind]
    data = pack(datatype, values) if wanted.is_binary else b""
    parameters: dict[str, Any] = {
        **labels_parameter(field.kind, wanted.labels),
        **({"binary_data_size": len(data)} if wanted.is_binary else {}),
    }
    return {
        "name": field.name,
        "datatype": datatype,
        "shape": shape,
        **({"parameters": parameters} if parameters else {}),
        **({} if wanted.is_binary else {"data": values}),
    }, data


def _values(wanted: Wanted, column: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Shape, and the values row by row."""
    if wanted.field.kind == "probabilities":
        column = [[row[label] for label in wanted.labels] for row in column]
    elif wanted.field.kind != "vector":
        return [len(column)], list(column)
    return [len(column), len(column[0])], [value for row in column for value in row]
