"""A model as the HTTP app sees it: what it takes and answers, and something to ask.

The app does not know where the model computes; a cluster's handle and a function in this process
serve it equally well.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiplat.errors import AiplatError
from aiplat.tasks.fields import InputField, OutputField

# One request row: a field's name -> its value, an image as the bytes of its file. Fields that the
# request left out are None.
Row = dict[str, Any]
# One answer, JSON-ready; its keys are the names of the task's outputs.
Answer = dict[str, Any]


@dataclass(frozen=True)
class ModelInfo:
    """What an endpoint tells of a model version without asking the model.

    dataset: the id (`name@version`) of the dataset version it was trained on.
    metrics: split -> metric -> value.
    """

    name: str
    version: str
    inputs: tuple[InputField, ...]
    outputs: tuple[OutputField, ...]
    dataset: str = ""
    labels: tuple[str, ...] = ()
    metrics: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Fault:
    """Why a row of a request has no answer. field: None where no single field is to blame."""

    field: str | None
    detail: str


@dataclass(frozen=True)
class Answers:
    """One answer a row, and the version of the model that gave them.

    replica: which copy of the model did. compute_s: the rows' share of its passes. queue_s: from
    when the rows came to the first pass. model_s: from then to the answer.
    """

    version: str
    rows: tuple[Answer, ...]
    replica: str = ""
    compute_s: float = 0.0
    queue_s: float = 0.0
    model_s: float = 0.0


class ServedModel(Protocol):
    """A model that can be asked."""

    @property
    def info(self) -> ModelInfo:
        """What the model takes and answers."""
        ...

    async def predict(self, rows: Sequence[Row]) -> Answers:
        """Answer the rows of one request.

        Raises RowsError where rows cannot be answered, OverloadError where the model has too much
        to do, and TimeoutError where it took too long.
        """
        ...

    async def ready(self) -> bool:
        """Whether a request would be answered now."""
        ...


class RowsError(AiplatError):
    """Rows of a request, by their position in it, cannot be answered; the fault is theirs."""

    def __init__(self, faults: Mapping[int, Fault]) -> None:
        self.faults = dict(faults)
        super().__init__("; ".join(f"row {row}: {fault.detail}" for row, fault in faults.items()))


class OverloadError(AiplatError):
    """The model has too much to do, or no replica just now; the same request may pass later."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


def is_finite(value: Any) -> bool:
    """Whether an answer has no number that JSON has no word for."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(map(is_finite, value.values()))
    return not isinstance(value, (list, tuple)) or all(map(is_finite, value))
