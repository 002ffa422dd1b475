"""What a trained model is judged by."""

import time
from typing import Any

import pyarrow as pa
import pytest
from torch import Tensor, nn

from aiplat.tasks.task import Batch, Task
from aiplat.training.result import FitResult
from aiplat.tuning.objectives import directions, measured
from tests.fakes import TinyTask, blobs
from tests.training.runs import smooth_model


class SlowTask(TinyTask):
    """Takes its time to answer, and longer the first time."""

    def __init__(self, wait_ms: float) -> None:
        super().__init__(smooth_model())
        self.wait_ms = wait_ms
        self.modes: list[bool] = []

    def predict(self, batch: Batch) -> list[dict[str, Any]]:
        self.modes.append(self.model.training)
        time.sleep((self.wait_ms + 50 * (len(self.modes) == 1)) / 1000)
        return super().predict(batch)


def result(accuracy: float) -> FitResult:
    return FitResult(
        8, 1, 8, 120, 1, "max_epochs", 1.0, metrics={"accuracy": accuracy, "loss": 2.0}
    )


@pytest.fixture(scope="module")
def row() -> pa.Table:
    return blobs(1)


def test_only_the_tasks_metric_may_be_better_larger() -> None:
    assert directions(["metric"], maximize=True) == ["maximize"]
    assert directions(["metric"], maximize=False) == ["minimize"]
    several = directions(["metric", "num_parameters", "latency_ms"], maximize=True)
    assert several == ["maximize", "minimize", "minimize"]


def test_the_metric_is_that_of_the_validation_split(row: pa.Table) -> None:
    assert measured(["metric"], TinyTask(smooth_model()), result(0.75), row) == [0.75]


def test_parameters_are_counted(row: pa.Table) -> None:
    task = TinyTask(smooth_model())
    # Two inputs, 16 hidden, 3 classes.
    expected = 2 * 16 + 16 + 16 * 3 + 3
    assert measured(["metric", "num_parameters"], task, result(0.5), row) == [0.5, expected]
    assert measured(["num_parameters", "metric"], task, result(0.5), row) == [expected, 0.5]


def test_the_time_of_an_answer_is_that_of_one_that_is_not_the_first(row: pa.Table) -> None:
    task = SlowTask(wait_ms=4)
    task.model.train()
    metric, latency = measured(["metric", "latency_ms"], task, result(0.5), row)
    assert metric == 0.5
    assert 4 <= latency < 40
    assert not any(task.modes)


def test_what_is_not_asked_for_is_not_measured(row: pa.Table) -> None:
    task = SlowTask(wait_ms=0)
    measured(["metric", "num_parameters"], task, result(0.5), row)
    assert task.modes == []


def test_the_time_of_an_answer_is_that_of_the_engine_and_the_size_that_of_the_model(
    row: pa.Table,
) -> None:
    task = SlowTask(wait_ms=20)

    def use_engine(trained: Task) -> None:
        assert trained is task
        task.wait_ms = 0
        # What an engine computes has no weights to be counted.
        task.model = Compiled(task.model)

    plain = measured(["metric", "num_parameters", "latency_ms"], task, result(0.5), row)
    quick = measured(["metric", "num_parameters", "latency_ms"], task, result(0.5), row, use_engine)
    assert quick[1] == plain[1] > 0
    assert quick[2] < plain[2] / 2


class Compiled(nn.Module):
    """Answers as a model does, and hides its weights."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.answer = [model]

    def forward(self, *inputs: Tensor) -> Tensor:
        scores: Tensor = self.answer[0](*inputs)
        return scores
