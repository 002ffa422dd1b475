from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.samples import Ledger
from aiplat.training.snapshot import Position, Snapshot, weights_of
from tests.fakes import damage


def snapshot(step: int, score: float | None = None, best_step: int = 0) -> Snapshot:
    ledger = Ledger(20)
    ledger.mark(np.arange(step % 20))
    position = Position(20, 100, 1, step=step, score=score, best_step=best_step or step)
    return Snapshot(position, ledger, {"weight": torch.full((3,), float(step))}, {"step": step})


def test_a_checkpoint_holds_what_was_saved(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    saved = snapshot(7, score=0.5)
    checkpoints.save(saved)
    loaded = checkpoints.load(7)
    assert loaded.position == saved.position
    assert np.array_equal(loaded.ledger.trained, saved.ledger.trained)
    assert torch.equal(loaded.weights["weight"], saved.weights["weight"])
    assert loaded.state == {"step": 7}
    assert checkpoints.newest() == (7, [])


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "position.json", "trained.npy"])
def test_a_damaged_file_sends_the_run_one_checkpoint_back_saying_so(
    tmp_path: Path, name: str
) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for saved in (5, 10):
        checkpoints.save(snapshot(saved))
    damage(tmp_path / "checkpoints" / "step-00000010" / name)
    step, notes = checkpoints.newest()
    assert step == 5
    assert notes == [
        f"checkpoint {checkpoints.folder(10)}: {name} does not match its hash; going back to step 5"
    ]


@pytest.mark.parametrize("name", ["model.safetensors", "COMPLETE.json"])
def test_a_half_written_checkpoint_does_not_count(tmp_path: Path, name: str) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for saved in (5, 10):
        checkpoints.save(snapshot(saved))
    (tmp_path / "checkpoints" / "step-00000010" / name).unlink()
    step, notes = checkpoints.newest()
    assert step == 5
    assert "step-00000010 is incomplete" in notes[0]


def test_a_truncated_marker_does_not_count(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(snapshot(5))
    (tmp_path / "checkpoints" / "step-00000005" / "COMPLETE.json").write_text('{"fil')
    step, notes = checkpoints.newest()
    assert step is None
    assert notes[0].endswith("COMPLETE.json is damaged; no earlier one is left: starting over")


def test_a_checkpoint_of_another_format_stops_the_run_and_is_not_thrown_away(
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(snapshot(5))
    marker = tmp_path / "checkpoints" / "step-00000005" / "COMPLETE.json"
    marker.write_text(marker.read_text().replace('"format": 1', '"format": 2'))
    with pytest.raises(AiplatError, match="has format 2, this aiplat reads 1"):
        checkpoints.newest()


def test_the_last_two_and_the_best_are_kept(tmp_path: Path) -> None:
    scores = {1: 0.3, 2: 0.9, 3: 0.5, 4: None, 5: 0.4, 6: None}
    highest = Checkpoints(str(tmp_path / "highest"), keep_best=1)
    lowest = Checkpoints(str(tmp_path / "lowest"), keep_best=2, maximize=False)
    for step, score in scores.items():
        highest.save(snapshot(step, score, best_step=2 if step > 1 else 1))
        lowest.save(snapshot(step, score, best_step=1))
    assert highest.steps() == [2, 5, 6]
    assert lowest.steps() == [1, 5, 6]


def test_a_full_disk_is_an_error_that_names_the_path_and_costs_nothing_older(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(snapshot(5))

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_bytes", full)
    with pytest.raises(CheckpointError, match=r"step-00000010: .*No space left on device"):
        checkpoints.save(snapshot(10))
    assert checkpoints.newest() == (5, [])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


def test_rolling_back_forgets_later_checkpoints_and_drafts(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for step in (5, 10):
        checkpoints.save(snapshot(step))
    (tmp_path / "checkpoints" / ".step-00000015.abc").mkdir()
    checkpoints.discard_after(5)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]


def test_weights_that_are_tied_or_laid_out_otherwise_are_saved_whole(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Conv2d(2, 4, 3))
    model[1].weight = model[0].weight
    model.to(memory_format=torch.channels_last)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    checkpoints = Checkpoints(str(tmp_path))
    saved = snapshot(1)
    saved.weights = weights_of(model)
    checkpoints.save(saved)
    loaded = checkpoints.load(1).weights
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)
