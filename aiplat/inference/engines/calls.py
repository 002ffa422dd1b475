"""The ways a task calls its model, found by letting it: on rows made up to be small and large."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import Signature, signature
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from aiplat.datasets.versions import DatasetInfo
from aiplat.inference.engines.graph import Graph, Tensors
from aiplat.tasks.task import Batch, Rows, Task

# Numbers of rows that are unlike each other and unlike most sizes that do not vary.
_ROWS = (3, 7)
_LONG_TEXT = "a " * 8192

Calls = dict[tuple[str, ...], list[Tensors]]


def graphs_of(
    task: Task, info: DatasetInfo, calibration: Sequence[Batch] = (), device: str = "cpu"
) -> list[Graph]:
    """A graph for each way in which the task calls its model to answer or to be measured.

    calibration: batches of real rows, with their targets. device: where the model is.
    """
    made_up = [
        task.encode(_rows(task, info, count, text))
        for count, text in zip(_ROWS, ("a", _LONG_TEXT), strict=True)
    ]
    examples, real = (
        recorded_calls(task, [_moved(batch, device) for batch in batches])
        for batches in (made_up, calibration)
    )
    return [
        Graph(task.model, names, calls, tuple(real.get(names, ())))
        for names, calls in examples.items()
    ]


def recorded_calls(task: Task, batches: Sequence[Batch]) -> Calls:
    """What the task gives its model for these batches, by the names of the arguments given."""
    recorder = _Recorder(task.model)
    with _in_place_of_model(task, recorder), torch.inference_mode():
        for batch in batches:
            task.predict(batch)
            task.measure(batch, task.metrics())
    return recorder.calls


def given_tensors(
    expected: Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Tensor]:
    """The arguments of a call that are not None, by name, in the order of the signature."""
    bound = expected.bind(*args, **kwargs).arguments
    return {name: value for name, value in bound.items() if value is not None}


class _Recorder(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.signature = signature(model.forward)
        self.calls: Calls = {}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        given = given_tensors(self.signature, args, kwargs)
        # As engines will be given them: plain memory, whatever order the task encodes in.
        tensors = tuple(tensor.contiguous() for tensor in given.values())
        self.calls.setdefault(tuple(given), []).append(tensors)
        return self.model(*args, **kwargs)


def _moved(batch: Batch, device: str) -> Batch:
    return {name: tensor.to(device) for name, tensor in batch.items()}


@contextmanager
def _in_place_of_model(task: Task, stand_in: nn.Module) -> Iterator[None]:
    model = task.model
    task.model = stand_in
    try:
        yield
    finally:
        task.model = model


def _rows(task: Task, info: DatasetInfo, count: int, text: str) -> Rows:
    """Rows of everything the task reads; their values are of no matter, but their sizes are."""
    values = {"image": _picture(), "text": text, "number": 0.0, "category": "", "label": 0}
    return {name: [values[info.column(name).kind]] * count for name in task.columns}


def _picture() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (8, 8)).save(data, "PNG")
    return data.getvalue()
