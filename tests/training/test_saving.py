"""Saving beside the training: with storage that is slow, full or slower than the training."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from aiplat.store import files
from aiplat.training.background import Background
from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.hostcopy import HostCopy
from aiplat.training.local import LocalWorker
from aiplat.training.loop import fit
from aiplat.training.records import read_samples
from aiplat.training.result import read_result
from tests.fakes import TinyTask, damage
from tests.limits import files_of_at_most
from tests.training.runs import CutOffError, Run, losses, notes, smooth_model

PARTS = ["model.safetensors", "state.pt", "position.json", "trained.npy", "COMPLETE.json"]


class SlowStorage:
    """Checkpoints are complete only when the test says so; nothing else waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go_on = threading.Event()
        self.began: list[int] = []
        save = Checkpoints.save

        def slow(checkpoints: Checkpoints, snapshot: Any) -> None:
            self.began.append(snapshot.position.step)
            assert self.may_go_on.wait(30)
            save(checkpoints, snapshot)

        monkeypatch.setattr(Checkpoints, "save", slow)


class ObservedWorker(LocalWorker):
    """Lets a test look on at every training batch."""

    at_batch: Any = None

    def batches(self, split: str, plan: Any, augment: bool) -> Any:
        for number, batch in enumerate(super().batches(split, plan, augment), start=1):
            if split == "train":
                self.at_batch(number)
            yield batch


def observed(run: Run, at_batch: Any) -> ObservedWorker:
    task = TinyTask(smooth_model())
    worker = ObservedWorker(run.tables, task, str(run.folder))
    worker.at_batch = at_batch
    return worker


def test_training_goes_on_while_a_checkpoint_is_written_and_what_is_saved_is_that_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, checkpoint={"every_steps": 3})
    undisturbed, _ = Run(tmp_path / "undisturbed", checkpoint={"every_steps": 3}).go()
    storage = SlowStorage(monkeypatch)
    saved: list[list[int]] = []

    def look(number: int) -> None:
        saved.append(Checkpoints(str(tmp_path)).steps())
        if number == 6:
            # Steps 4 and 5 changed the weights since.
            storage.may_go_on.set()
        if number == 7:
            raise CutOffError

    worker = observed(run, look)
    with pytest.raises(CutOffError):
        fit(worker.task, worker, run.recipe())
    assert saved[:6] == [[]] * 6
    monkeypatch.undo()
    _, resumed = run.go()
    assert min(losses(resumed)) == 7, "the save under way was completed before the run ended"
    assert read_result(str(tmp_path)).test_metrics == undisturbed.test_metrics  # type: ignore[union-attr]


def test_a_run_ends_only_when_its_last_checkpoint_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = SlowStorage(monkeypatch)
    run = Run(tmp_path, loop={"max_epochs": 1})
    task = TinyTask(smooth_model())
    worker = LocalWorker(run.tables, task, str(tmp_path))
    thread = threading.Thread(target=fit, args=(task, worker, run.recipe()))
    thread.start()
    while not storage.began:
        thread.join(0.01)
    thread.join(0.1)
    assert thread.is_alive()
    assert read_result(str(tmp_path)) is None
    assert not [event for event in worker.events if event["kind"] == "epoch"]
    storage.may_go_on.set()
    thread.join()
    assert [event["step"] for event in worker.events if event["kind"] == "epoch"] == [8]
    assert read_result(str(tmp_path)) is not None


def test_a_full_disk_ends_the_run_at_the_next_step_and_space_lets_it_go_on(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path, loop={"log_every_steps": 1}, checkpoint={"every_steps": 1})
    _, undisturbed = Run(tmp_path / "undisturbed").go()
    run.cut_off(3)
    worker = LocalWorker(run.tables, TinyTask(smooth_model()), str(tmp_path))
    # The weights fit, the optimizer's state does not.
    with (
        files_of_at_most(2000),
        pytest.raises(CheckpointError, match=r"cannot write .*step-00000004: .*File too large"),
    ):
        fit(worker.task, worker, run.recipe())
    assert max(losses(worker)) <= 5
    assert Checkpoints(str(tmp_path)).newest() == (3, [])
    _, resumed = run.go()
    assert min(losses(resumed)) == 4
    assert losses(resumed).items() <= losses(undisturbed).items()
    assert sorted(read_samples(str(tmp_path), 1)) == list(range(120))


def test_a_disk_that_is_full_at_the_end_keeps_the_run_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path, loop={"max_epochs": 1})

    def full(*_: Any) -> None:
        raise CheckpointError("cannot write: no space")

    monkeypatch.setattr(Checkpoints, "save", full)
    with pytest.raises(CheckpointError, match="no space"):
        run.go()
    assert read_result(str(tmp_path)) is None


def test_a_record_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"max_epochs": 1})
    with files_of_at_most(100), pytest.raises(CheckpointError, match=r"samples/.*step-00000008"):
        run.go()
    result, _ = run.go()
    assert result.steps == 8


def test_a_fault_of_the_code_hides_no_fault_of_the_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise CheckpointError("cannot write: no space")

    monkeypatch.setattr(Checkpoints, "save", full)
    worker = Run(tmp_path, checkpoint={"every_steps": 3}).cut_off(3)
    assert notes(worker) == ["cannot write: no space"]


@pytest.mark.parametrize("name", PARTS)
def test_after_a_fall_back_the_record_has_what_the_run_was_trained_on(
    tmp_path: Path, name: str
) -> None:
    run = Run(tmp_path, loop={"max_epochs": 1}, checkpoint={"every_steps": 2})
    run.cut_off(7)
    damage(tmp_path / "checkpoints" / "step-00000006" / name)
    worker = run.cut_off(0)
    assert "going back to step 4" in notes(worker)[0]
    recorded = read_samples(str(tmp_path), 1)
    trained = Checkpoints(str(tmp_path)).load(4).ledger.trained
    assert sorted(recorded) == trained.nonzero()[0].tolist()
    run.go()
    assert sorted(read_samples(str(tmp_path), 1)) == list(range(120))


def test_a_checkpoint_that_is_asked_for_is_complete_before_the_next_step(tmp_path: Path) -> None:
    run = Run(tmp_path)
    found: dict[int, list[int]] = {}

    def look(number: int) -> None:
        found[number] = Checkpoints(str(tmp_path)).steps()
        if number == 1:
            worker.save_now = True

    worker = observed(run, look)
    fit(worker.task, worker, run.recipe())
    assert "saved at step 1, as was asked" in notes(worker)
    assert found[2] == [1]
    assert len(notes(worker)) == 1


def test_a_copy_stays_as_it_was_and_its_memory_is_used_again() -> None:
    weights = {"a": torch.ones(3, 4).T, "b": torch.zeros(2)}
    state = {"step": torch.tensor(1.0), "groups": [{"lr": 0.1, "parts": (weights["b"], None)}]}
    host_copy = HostCopy()
    first, first_state = host_copy.take(weights, state)
    host_copy.wait()
    weights["a"].fill_(7)
    weights["b"].fill_(8)
    state["groups"][0]["lr"] = 0.2  # type: ignore[index]
    assert torch.equal(first["a"], torch.ones(4, 3))
    assert first["a"].is_contiguous()
    assert first_state["groups"] == [
        {"lr": 0.1, "parts": (first_state["groups"][0]["parts"][0], None)}
    ]
    assert first_state["groups"][0]["parts"][0].tolist() == [0, 0]
    places = {name: value.data_ptr() for name, value in first.items()}
    second, _ = host_copy.take(weights, state)
    assert {name: value.data_ptr() for name, value in second.items()} == places
    assert second["b"].tolist() == [8, 8]
    weights["b"] = torch.zeros(5)
    assert host_copy.take(weights, state)[0]["b"].tolist() == [0] * 5


def test_a_fault_in_the_background_is_raised_once_where_it_is_waited_for() -> None:
    background = Background("test")

    def fail() -> None:
        raise OSError("disk on fire")

    done: list[int] = []
    background.start(fail)
    with pytest.raises(OSError, match="disk on fire"):
        background.start(lambda: done.append(1))
    background.start(lambda: done.append(2))
    background.wait()
    assert done == [2]
    assert not background.is_busy
