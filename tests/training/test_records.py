from pathlib import Path

import pytest
import torch

from aiplat.errors import DataError
from aiplat.training.records import KEEP_EPOCHS, SampleRecord, read_samples


def record_of(tmp_path: Path, epoch: int, *steps: list[int]) -> SampleRecord:
    """One file a step; the steps are numbered through all epochs."""
    record = SampleRecord(str(tmp_path), rank=0)
    for index, row_ids in enumerate(steps):
        record.add([torch.tensor(row_ids)])
        record.write(epoch, epoch * 100 + index, record.gathered())
    return record


def test_the_record_has_every_row_in_the_order_of_training(tmp_path: Path) -> None:
    record_of(tmp_path, 1, [5, 3], [4, 4])
    assert read_samples(str(tmp_path), 1).tolist() == [5, 3, 4, 4]
    assert read_samples(str(tmp_path), 2).size == 0


def test_an_epoch_of_each_row_once_is_right(tmp_path: Path) -> None:
    record_of(tmp_path, 1, [12, 10], [11, 13]).close_epoch(1, num_rows=4)


@pytest.mark.parametrize(
    ("row_ids", "words"),
    [
        ([10, 11, 11, 13], "repeated were row_id 11; left out were row_id 12"),
        ([10, 11, 12, 13, 13], "5 rows were trained on, the split has 4; repeated were row_id 13"),
        ([10, 12, 13], "left out were row_id 11"),
    ],
)
def test_rows_repeated_or_left_out_are_named(
    tmp_path: Path, row_ids: list[int], words: str
) -> None:
    record = record_of(tmp_path, 3, row_ids)
    with pytest.raises(DataError, match=f"epoch 3 did not train on every row .*{words}"):
        record.close_epoch(3, num_rows=4)


def test_work_after_the_checkpoint_is_forgotten(tmp_path: Path) -> None:
    record = record_of(tmp_path, 1, [0, 1], [2], [3])
    record_of(tmp_path, 2, [0])
    (tmp_path / "samples" / "epoch-0001" / ".step-00000102.npy.abc").touch()
    record.discard_after(101)
    assert read_samples(str(tmp_path), 1).tolist() == [0, 1, 2]
    assert read_samples(str(tmp_path), 2).size == 0
    names = [path.name for path in (tmp_path / "samples" / "epoch-0001").iterdir()]
    assert sorted(names) == ["step-00000100.npy", "step-00000101.npy"]


def test_only_the_last_epochs_are_kept(tmp_path: Path) -> None:
    for epoch in range(1, 7):
        record_of(tmp_path, epoch, [0, 1]).close_epoch(epoch, num_rows=2)
    sizes = [read_samples(str(tmp_path), epoch).size for epoch in range(1, 7)]
    assert sizes == [0] * (6 - KEEP_EPOCHS) + [2] * KEEP_EPOCHS
