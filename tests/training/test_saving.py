"""Saving beside the training: with storage that is slow, full or slower than the training."""

import io
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from aiplat.training import attempt as attempt_module
from aiplat.training.background import Background
from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.hostcopy import HostCopy
from aiplat.training.learner import Learner, make_learner
from aiplat.training.local import LocalWorker
from aiplat.training.loop import fit
from aiplat.training.records import read_samples
from aiplat.training.result import read_result
from tests.fakes import TinyTask, damage
from tests.limits import files_of_at_most
from tests.training.runs import (
    CutOffError,
    Run,
    losses,
    notes,
    smooth_model,
    use_storage_that_cannot_rename,
)

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
    run = Run(tmp_path, loop={"max_epochs": 1})
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


def put(value: Any, path: Path) -> None:
    stream = io.BytesIO()
    torch.save(value, stream)
    path.write_bytes(stream.getvalue())


class Halves:
    """Every other parameter in one file and the rest in another, optimizer state and all."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner

    def save(self, folder: Path) -> None:
        parts = self.learner.model.state_dict()
        for half in (0, 1):
            put(dict(list(parts.items())[half::2]), folder / f"part-{half}")
        put(self.learner.optimizer.state_dict(), folder / "optimizer")
        (folder / ".metadata").write_text("two parts")

    def load(self, folder: Path) -> None:
        parts = [torch.load(folder / f"part-{half}") for half in (0, 1)]
        self.learner.model.load_state_dict(parts[0] | parts[1])
        self.learner.optimizer.load_state_dict(torch.load(folder / "optimizer"))


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(*arguments: Any) -> Learner:
        learner = make_learner(*arguments)
        learner.shards = Halves(learner)
        return learner

    monkeypatch.setattr(attempt_module, "make_learner", make)
    state_dict = Learner.state_dict

    def small(learner: Learner) -> dict[str, Any]:
        return {"schedule": state_dict(learner)["schedule"]}

    monkeypatch.setattr(Learner, "state_dict", small)


@pytest.mark.usefixtures("in_parts")
def test_state_in_parts_is_saved_verified_and_loaded_with_the_rest(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"max_epochs": 1}, checkpoint={"every_steps": 2})
    folder = tmp_path / "checkpoints"
    before = run.cut_off(7)
    names = sorted(path.name for path in (folder / "step-00000006" / "shards").iterdir())
    assert names == [".metadata", "optimizer", "part-0", "part-1"]
    assert not (folder / "step-00000006" / "model.safetensors").exists()
    with files_of_at_most(1000), pytest.raises(CheckpointError, match=r"rank 0 cannot write .*"):
        run.go()
    damage(folder / "step-00000006" / "shards" / "part-1")
    torch.manual_seed(3)
    after = run.cut_off(3, TinyTask(smooth_model()))
    assert "shards/part-1 does not match its hash; going back to step 4" in notes(after)[0]
    assert losses(after).items() >= {step: losses(before)[step] for step in (5, 6, 7)}.items()
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000004", "step-00000006"]


@pytest.mark.usefixtures("in_parts")
def test_state_in_parts_goes_to_storage_that_cannot_rename_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_storage_that_cannot_rename(tmp_path, monkeypatch)
    run = Run("fake://run", loop={"max_epochs": 1}, checkpoint={"every_steps": 2})
    before = run.cut_off(7)
    damage(tmp_path / "run" / "checkpoints" / "step-00000006" / "shards" / "part-0")
    after = run.cut_off(3, TinyTask(smooth_model()))
    assert "shards/part-0 does not match its hash; going back to step 4" in notes(after)[0]
    assert losses(after).items() >= {step: losses(before)[step] for step in (5, 6, 7)}.items()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte, where this process may make one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(place)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, stderr=-1).returncode:
        pytest.skip("this process may not mount a disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_run_on_a_disk_that_is_full_goes_on_when_there_is_space(small_disk: Path) -> None:
    run = Run(small_disk / "run", loop={"max_epochs": 1}, checkpoint={"every_steps": 2})
    run.cut_off(5)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as stream:
        while stream.write(b"0" * 4096):
            pass
    with pytest.raises(CheckpointError, match="No space left on device") as caught:
        run.go()
    assert str(small_disk) in str(caught.value)
    assert Checkpoints(str(run.folder)).newest() == (4, [])
    filler.unlink()
    result, worker = run.go()
    assert (min(losses(worker)), result.steps) == (5, 8)
    assert sorted(read_samples(str(run.folder), 1)) == list(range(120))


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
