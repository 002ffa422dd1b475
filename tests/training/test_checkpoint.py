import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.hostcopy import HostCopy
from aiplat.training.samples import Ledger
from aiplat.training.snapshot import Position, Snapshot
from tests.fakes import damage
from tests.limits import files_of_at_most


def snapshot(step: int, score: float | None = None, best_step: int = 0) -> Snapshot:
    ledger = Ledger(20)
    ledger.mark(np.arange(step % 20))
    position = Position(20, 100, 1, step=step, score=score, best_step=best_step or step)
    return Snapshot(position, ledger, {"weight": torch.full((3,), float(step))}, {"step": step})


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


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


@pytest.mark.parametrize("harm", [damage, truncate, empty, Path.unlink])
@pytest.mark.parametrize(
    "name", ["model.safetensors", "state.pt", "position.json", "trained.npy", "COMPLETE.json"]
)
def test_a_damaged_file_sends_the_run_one_checkpoint_back_saying_so(
    tmp_path: Path, name: str, harm: Callable[[Path], None]
) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for saved in (5, 10):
        checkpoints.save(snapshot(saved))
    harm(tmp_path / "checkpoints" / "step-00000010" / name)
    step, notes = checkpoints.newest()
    assert step == 5
    assert len(notes) == 1
    assert re.fullmatch(
        rf"checkpoint {re.escape(checkpoints.folder(10))}(: {name} does not match its hash"
        rf"|: COMPLETE.json is damaged| is incomplete: .*{name}.*); going back to step 5",
        notes[0],
    )


def test_two_damaged_checkpoints_send_the_run_two_back(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    for saved in (5, 10, 15):
        checkpoints.save(snapshot(saved, best_step=5))
    for name in ("step-00000010", "step-00000015"):
        damage(tmp_path / "checkpoints" / name / "state.pt")
    step, notes = checkpoints.newest()
    assert step == 5
    assert [note.rpartition("; ")[2] for note in notes] == ["going back to step 5"] * 2


def test_a_checkpoint_without_its_marker_never_counted(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(snapshot(5))
    (tmp_path / "checkpoints" / "step-00000005" / "COMPLETE.json").write_text("{}")
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
    tmp_path: Path,
) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(snapshot(5))
    for largest in (10, 300, 700):
        with (
            files_of_at_most(largest),
            pytest.raises(CheckpointError, match=r"step-00000010: .*File too large.*free some"),
        ):
            checkpoints.save(snapshot(10))
    assert checkpoints.newest() == (5, [])
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]
    checkpoints.save(snapshot(10))
    assert checkpoints.newest() == (10, [])


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
    saved.weights, _ = HostCopy().take(model.state_dict(), None)
    checkpoints.save(saved)
    loaded = checkpoints.load(1).weights
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_what_ranks_wrote_in_parts_counts_with_the_rest_or_not_at_all(tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path))
    checkpoints.save(snapshot(5))
    sharded = snapshot(10)
    sharded.weights, sharded.shards = {}, checkpoints.place_for_shards(10)
    with files.filled(sharded.shards) as folder:
        (folder / ".metadata").write_text("two parts")
        (folder / "part-0").write_bytes(b"0" * 100)
        (folder / "part-1").write_bytes(b"1" * 100)
    assert checkpoints.newest() == (5, [])
    checkpoints.save(sharded)
    loaded = checkpoints.load(10)
    assert loaded.weights == {}
    assert loaded.shards == f"{checkpoints.folder(10)}/shards"
    assert checkpoints.newest() == (10, [])
    damage(Path(loaded.shards) / "part-1")
    step, notes = checkpoints.newest()
    assert step == 5
    assert "shards/part-1 does not match its hash" in notes[0]
