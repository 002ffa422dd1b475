"""How the choices of a run turn into steps and micro-batches."""

import pytest

from aiplat.training.config import DatasetConfig, LoopConfig
from aiplat.training.optim import optimizer_from
from aiplat.training.recipe import Recipe


def recipe(accumulate: int = 1, full_workers: int | None = None) -> Recipe:
    return Recipe(
        dataset=DatasetConfig(name="any", batch_size=256),
        make_optimizer=optimizer_from({"_target_": "torch.optim.SGD", "lr": 0.1}),
        loop=LoopConfig(accumulate=accumulate),
        full_workers=full_workers,
    )


@pytest.mark.parametrize(
    ("world_size", "micro_batches", "rows"), [(4, 1, 64), (3, 2, 43), (2, 2, 64), (1, 4, 64)]
)
def test_missing_workers_are_made_up_for_by_micro_batches_of_the_same_size(
    world_size: int, micro_batches: int, rows: int
) -> None:
    elastic = recipe(full_workers=4)
    assert elastic.accumulate(world_size) == micro_batches
    assert elastic.micro_batch_rows(world_size) == rows


def test_missing_workers_come_on_top_of_the_micro_batches_asked_for() -> None:
    assert [recipe(2, full_workers=4).accumulate(size) for size in (4, 3, 2, 1)] == [2, 3, 4, 8]


def test_a_group_of_a_fixed_size_cuts_as_it_is_told() -> None:
    assert [recipe(3).accumulate(size) for size in (1, 2, 5)] == [3, 3, 3]
