"""Epochs that end quickly one after another are saved together."""

from pathlib import Path

import pytest
import torch

from aiplat.errors import ConfigError
from aiplat.training.attempt import Attempt
from aiplat.training.checkpoint import Checkpoints
from aiplat.training.config import CheckpointConfig
from aiplat.training.evaluation import Evaluation
from aiplat.training.local import LocalWorker
from aiplat.training.result import best_weights, read_result
from tests.training.runs import Run

# Epochs have 8 steps, and none takes so long.
QUICK = {"min_epoch_s": 3600.0}
LOOP = {"max_epochs": 4}


def run_in(folder: Path, **checkpoint: object) -> Run:
    return Run(folder, loop=LOOP, checkpoint=checkpoint)


def epochs(worker: LocalWorker) -> list[int]:
    return [event["step"] for event in worker.events if event["kind"] == "epoch"]


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """Step -> what the evaluation at that step is told to have found."""
    told: dict[int, float] = {}

    def evaluated(attempt: Attempt) -> Evaluation:
        return Evaluation({attempt.task.primary: told[attempt.position.step]})

    monkeypatch.setattr(Attempt, "_evaluated", evaluated)
    return told


def test_quick_epochs_are_saved_at_the_end_with_the_best_of_them(
    tmp_path: Path, scores: dict[int, float]
) -> None:
    scores |= {8: 0.2, 16: 0.9, 24: 0.5, 32: 0.4}
    run_in(tmp_path / "each").go()
    result, worker = run_in(tmp_path / "quick", **QUICK).go()
    assert Checkpoints(str(tmp_path / "quick")).steps() == [16, 32]
    assert epochs(worker) == [8, 16, 24, 32]
    assert result.best_step == 16
    each, quick = (best_weights(str(tmp_path / name)) for name in ("each", "quick"))
    assert all(torch.equal(each[name], quick[name]) for name in each)


def test_an_epoch_that_was_best_for_a_while_is_not_saved(
    tmp_path: Path, scores: dict[int, float]
) -> None:
    scores |= {8: 0.2, 16: 0.3, 24: 0.5, 32: 0.9}
    run_in(tmp_path, **QUICK).go()
    assert Checkpoints(str(tmp_path)).steps() == [32]


def test_the_end_by_early_stop_is_saved(tmp_path: Path, scores: dict[int, float]) -> None:
    scores |= {8: 0.9, 16: 0.3}
    loop = {**LOOP, "early_stop_epochs": 1}
    result, _ = Run(tmp_path, loop=loop, checkpoint=QUICK).go()
    assert result.stopped_because == "early_stop"
    assert Checkpoints(str(tmp_path)).steps() == [8, 16]


def test_a_run_cut_off_goes_on_from_its_last_save_with_the_best_until_then(
    tmp_path: Path, scores: dict[int, float]
) -> None:
    scores |= {8: 0.9, 16: 0.3, 24: 0.5, 32: 0.4}
    undisturbed, _ = run_in(tmp_path / "each").go()
    run = run_in(tmp_path / "cut", every_steps=20, **QUICK)
    first = run.cut_off(after=26)
    assert Checkpoints(str(tmp_path / "cut")).steps() == [8, 20]
    # What is logged has been saved: the third epoch is trained and told once more.
    assert epochs(first) == [8, 16]
    result, second = run.go()
    assert epochs(second) == [24, 32]
    assert result.best_step == undisturbed.best_step == 8
    assert result.test_metrics == pytest.approx(undisturbed.test_metrics)


def test_a_run_cut_off_before_its_first_save_starts_over(tmp_path: Path) -> None:
    run = run_in(tmp_path, **QUICK)
    run.cut_off(after=20)
    assert Checkpoints(str(tmp_path)).steps() == []
    undisturbed, _ = run_in(tmp_path / "each").go()
    result, worker = run.go()
    assert epochs(worker) == [8, 16, 24, 32]
    assert result.test_metrics == undisturbed.test_metrics
    found = read_result(str(tmp_path))
    assert found is not None
    assert found.attempts == 1


def test_epochs_that_are_long_enough_are_each_saved(tmp_path: Path) -> None:
    run_in(tmp_path, min_epoch_s=1e-9, keep_best=9).go()
    assert Checkpoints(str(tmp_path)).steps() == [8, 16, 24, 32]


@pytest.mark.parametrize("seconds", [-1.0, 61.0])
def test_more_cannot_be_put_off_than_may_be_lost(seconds: float) -> None:
    with pytest.raises(ConfigError, match="expected 0 to max_lost_s=60"):
        CheckpointConfig(min_epoch_s=seconds)
