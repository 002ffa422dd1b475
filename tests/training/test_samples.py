import numpy as np
import pytest

from aiplat.errors import DataError
from aiplat.training.samples import (
    Ledger,
    Positions,
    epoch_order,
    global_batches,
    num_batches,
    plan_steps,
)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    first = epoch_order(1000, seed=1, epoch=1)
    assert np.array_equal(first, epoch_order(1000, seed=1, epoch=1))
    assert sorted(first) == list(range(1000))
    assert not np.array_equal(first, epoch_order(1000, seed=1, epoch=2))
    assert not np.array_equal(first, epoch_order(1000, seed=2, epoch=1))


def test_without_shuffling_rows_come_as_they_lie() -> None:
    assert np.array_equal(epoch_order(5, seed=1, epoch=3, shuffle=False), np.arange(5))


def test_large_splits_are_shuffled_window_by_window() -> None:
    order = epoch_order(1050, seed=1, epoch=1, window_rows=100)
    assert sorted(order) == list(range(1050))
    windows = order // 100
    changes = np.flatnonzero(np.diff(windows))
    assert len(changes) == 10, "each window is read in one piece"
    assert not np.array_equal(np.unique(windows), windows[np.r_[0, changes + 1]])
    assert not np.array_equal(np.sort(order[:50]), order[:50])


def test_an_empty_split_has_an_empty_order() -> None:
    assert epoch_order(0, seed=1, epoch=1).size == 0


def train(ledger: Ledger, order: Positions, world_size: int, num_steps: int) -> list[Positions]:
    """Train for some steps as all ranks would; the answer is what each step trained on."""
    generator = np.random.default_rng(len(order))
    batch_size, accumulate = int(generator.integers(1, 20)), int(generator.integers(1, 4))
    remaining = ledger.remaining(order)
    ranks = [
        list(plan_steps(remaining, batch_size, accumulate, rank, world_size))
        for rank in range(world_size)
    ]
    trained = []
    for plans in list(zip(*ranks, strict=True))[:num_steps]:
        sizes = [sum(map(len, plan.micro_batches)) for plan in plans]
        assert max(sizes) - min(sizes) <= 1
        assert {len(plan.micro_batches) for plan in plans} == {accumulate}
        together = np.concatenate([part for plan in plans for part in plan.micro_batches])
        assert np.array_equal(together, plans[0].positions)
        ledger.mark(together)
        trained.append(together)
    return trained


@pytest.mark.parametrize("seed", range(40))
def test_every_row_is_trained_on_once_however_often_the_world_changes(seed: int) -> None:
    generator = np.random.default_rng(seed)
    num_rows = int(generator.integers(1, 300))
    order = epoch_order(num_rows, seed=seed, epoch=1)
    ledger = Ledger(num_rows)
    trained: list[Positions] = []
    while not ledger.is_complete:
        world_size, num_steps = int(generator.integers(1, 7)), int(generator.integers(1, 9))
        # As through a checkpoint.
        ledger = Ledger.unpacked(ledger.packed(), num_rows)
        trained += train(ledger, order, world_size, num_steps)
    assert sorted(np.concatenate(trained)) == list(range(num_rows))


@pytest.mark.parametrize("num_rows", [1, 15, 16, 17, 31, 32, 33, 48, 49, 100])
def test_cutting_the_rest_gives_the_same_batches_and_none_is_tiny(num_rows: int) -> None:
    order = epoch_order(num_rows, seed=1, epoch=1)
    whole = list(global_batches(order, 16))
    assert len(whole) == num_batches(num_rows, 16)
    assert min(map(len, whole)) >= min(num_rows, 8)
    assert max(map(len, whole)) <= 16
    for cut in range(len(whole)):
        rest = list(global_batches(np.concatenate(whole[cut:]), 16))
        assert all(np.array_equal(a, b) for a, b in zip(rest, whole[cut:], strict=True))


def test_training_on_a_row_twice_is_an_error_that_names_it() -> None:
    ledger = Ledger(10)
    ledger.mark(np.array([3, 4]))
    with pytest.raises(DataError, match="positions 4 "):
        ledger.mark(np.array([4, 5]))


def test_the_ledger_is_one_bit_a_row() -> None:
    ledger = Ledger(1001)
    ledger.mark(np.array([0, 7, 1000]))
    bits = ledger.packed()
    assert bits.nbytes == 126
    again = Ledger.unpacked(bits, 1001)
    assert np.flatnonzero(again.trained).tolist() == [0, 7, 1000]
    assert again.num_trained == 3
