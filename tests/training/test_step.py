from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from aiplat.errors import DataError
from aiplat.tasks.rows import encode_rows
from aiplat.tasks.task import Batch
from aiplat.training.config import DatasetConfig, LoopConfig
from aiplat.training.learner import Learner, make_learner
from aiplat.training.local import LocalWorker
from aiplat.training.recipe import Recipe
from aiplat.training.samples import StepPlan
from aiplat.training.step import StepOutcome, train_step
from tests.fakes import TinyTask, blobs
from tests.training.runs import adamw, smooth_model

TABLE = blobs(40)


def learner_of(task: TinyTask, **loop: object) -> Learner:
    recipe = Recipe(
        DatasetConfig("blobs"),
        make_optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=0.1),
        loop=LoopConfig(precision="fp32", **loop),  # type: ignore[arg-type]
    )
    return make_learner(task, LocalWorker({"train": TABLE}, task, ""), recipe, total_steps=10)


def step_over(learner: Learner, task: TinyTask, *parts: list[int]) -> StepOutcome:
    """One step on the given rows, by micro-batch."""
    plan = StepPlan(
        positions=np.array([row for part in parts for row in part], dtype=np.int64),
        micro_batches=tuple(np.array(part, dtype=np.int64) for part in parts),
    )

    def batches() -> Iterator[Batch]:
        for part in plan.micro_batches:
            yield encode_rows(TABLE.take(part), task)

    return train_step(learner, plan, batches())


def weights_after(*parts: list[int], **loop: object) -> tuple[list[Tensor], StepOutcome]:
    task = TinyTask(smooth_model())
    learner = learner_of(task, **loop)
    outcome = step_over(learner, task, *parts)
    return [weight.detach() for weight in task.model.parameters()], outcome


@pytest.mark.parametrize(
    "parts",
    [
        [list(range(20)), list(range(20, 40))],
        [list(range(33)), list(range(33, 40))],
        [list(range(1)), list(range(1, 40)), []],
    ],
    ids=["even", "uneven", "with an empty one"],
)
def test_micro_batches_train_as_the_whole_batch_does(parts: list[list[int]]) -> None:
    whole, expected = weights_after(list(range(40)))
    cut, outcome = weights_after(*parts)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(whole, cut, strict=True))
    assert float(outcome.loss) == pytest.approx(float(expected.loss), abs=1e-6)
    assert float(outcome.extras["train_accuracy"]) == pytest.approx(
        float(expected.extras["train_accuracy"])
    )


def test_the_outcome_has_the_rows_that_the_batches_carried() -> None:
    _, outcome = weights_after([4, 2], [39])
    assert torch.cat(outcome.row_ids).tolist() == [4, 2, 39]


def test_clipping_bounds_the_gradient_and_reports_its_norm() -> None:
    free, _ = weights_after(list(range(40)))
    clipped, outcome = weights_after(list(range(40)), clip_norm=0.01)
    start = [weight.detach() for weight in smooth_model().parameters()]
    assert outcome.gradient_norm is not None
    assert float(outcome.gradient_norm) > 0.01
    moved = torch.cat([(a - b).flatten() for a, b in zip(clipped, start, strict=True)]).norm()
    assert float(moved) == pytest.approx(0.1 * 0.01, rel=0.01)
    assert not torch.allclose(free[0], clipped[0])


def test_a_loader_that_gives_other_rows_than_planned_is_an_error() -> None:
    task = TinyTask(smooth_model())
    learner = learner_of(task)
    plan = StepPlan(np.arange(5), (np.arange(5),))
    with pytest.raises(DataError, match="gave 4 rows where 5 were due"):
        train_step(learner, plan, iter([encode_rows(TABLE.slice(0, 4), task)]))


def test_frozen_weights_stay() -> None:
    model = smooth_model()
    model.get_submodule("0").requires_grad_(False)
    before = [weight.clone() for weight in model.parameters()]
    task = TinyTask(model)
    recipe = Recipe(DatasetConfig("blobs"), adamw, loop=LoopConfig(precision="fp32"))
    worker = LocalWorker({"train": TABLE}, task, "")
    step_over(make_learner(task, worker, recipe, total_steps=10), task, [0, 1, 2])
    same = [torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert same == [True, True, False, False]
