from pathlib import Path

import pytest
import torch

from aiplat.training.drill.rows import EpochRows, RowCounter, count_rows
from aiplat.training.records import SampleRecord

FIRST, NUM_ROWS = 100, 5


def train_on(run_dir: Path, epoch: int, row_ids: list[int]) -> None:
    record = SampleRecord(str(run_dir), rank=0)
    record.add([torch.tensor(row_ids)])
    record.write(epoch, epoch, record.gathered())


@pytest.mark.parametrize(
    ("row_ids", "lost", "repeated"),
    [
        ([104, 100, 101, 103, 102], 0, 0),
        ([104, 100, 101, 103], 1, 0),
        ([104, 100, 101, 103, 102, 102], 0, 1),
        ([104, 100, 101, 103, 103], 1, 1),
        ([100, 100, 100, 100, 100], 4, 4),
        ([104, 100, 101, 103, 99], 1, 1),
        ([105, 100, 101, 102, 103, 104], 0, 1),
    ],
)
def test_lost_and_repeated_rows_are_counted(
    tmp_path: Path, row_ids: list[int], lost: int, repeated: int
) -> None:
    train_on(tmp_path, 1, row_ids)
    assert count_rows(str(tmp_path), 1, FIRST, NUM_ROWS) == EpochRows(
        1, trained=len(row_ids), lost=lost, repeated=repeated
    )


def test_an_epoch_without_a_record_lost_every_row(tmp_path: Path) -> None:
    assert count_rows(str(tmp_path), 3, FIRST, NUM_ROWS).lost == NUM_ROWS


def test_epochs_are_counted_before_their_record_is_dropped(tmp_path: Path) -> None:
    counter = RowCounter(str(tmp_path), FIRST, NUM_ROWS)
    for epoch in range(1, 7):
        train_on(tmp_path, epoch, [104, 100, 101, 103, 102])
        counter.reached(epoch)
        SampleRecord(str(tmp_path), rank=0).close_epoch(epoch, NUM_ROWS)
    found = counter.finish(6, cut=[2, 5, 5])
    assert [rows.epoch for rows in found] == [1, 2, 3, 4, 5, 6]
    assert all((rows.lost, rows.repeated) == (0, 0) for rows in found)
    assert [rows.kills for rows in found] == [0, 1, 0, 0, 2, 0]


def test_an_epoch_that_was_opened_again_is_counted_again(tmp_path: Path) -> None:
    counter = RowCounter(str(tmp_path), FIRST, NUM_ROWS)
    train_on(tmp_path, 1, [104, 100, 101, 103])
    counter.reached(3)
    assert counter.counted[1].lost == 1
    counter.reached(1)
    train_on(tmp_path, 1, [104, 100, 101, 103, 102])
    assert [rows.lost for rows in counter.finish(1, cut=[])] == [0]


def test_an_epoch_that_a_fallback_may_reopen_is_not_counted_yet(tmp_path: Path) -> None:
    counter = RowCounter(str(tmp_path), FIRST, NUM_ROWS)
    train_on(tmp_path, 1, [104, 100, 101, 103])
    counter.reached(2)
    assert counter.counted == {}
