"""A run that begins with the weights and the optimizer's state of another, and its own settings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import Optimizer

from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.loop import FitResult, fit
from aiplat.training.snapshot import Snapshot
from tests.fakes import TinyTask
from tests.training.runs import MortalWorker, Run, notes, smooth_model


def slowly(model: nn.Module) -> Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=1e-9, weight_decay=0.0)


def quickly(model: nn.Module) -> Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)


def follow(folder: Path, parent: Path, **more: Any) -> tuple[FitResult, MortalWorker]:
    run = Run(folder, optimizer=slowly, schedule=None, loop={"max_epochs": 1})
    torch.manual_seed(99)
    worker = MortalWorker(run.tables, TinyTask(smooth_model()), str(folder), **more)
    return fit(worker.task, worker, replace(run.recipe(), begin_from=str(parent))), worker


def last(folder: Path) -> Snapshot:
    checkpoints = Checkpoints(str(folder))
    return checkpoints.load(checkpoints.steps()[-1])


def test_it_goes_on_with_weights_and_momenta_and_its_own_settings(tmp_path: Path) -> None:
    parent, _ = Run(tmp_path / "parent", optimizer=quickly, schedule=None).go()
    child, worker = follow(tmp_path / "child", tmp_path / "parent")
    before, after = last(tmp_path / "parent"), last(tmp_path / "child")
    for name, weight in before.weights.items():
        assert torch.allclose(weight, after.weights[name], atol=1e-6)
    # It has epochs and rows of its own.
    assert (child.epochs, child.steps) == (1, parent.steps // 2)
    optimizer = after.state["optimizer"]
    assert optimizer["param_groups"][0]["lr"] == pytest.approx(1e-9)
    assert optimizer["param_groups"][0]["weight_decay"] == 0.0
    assert float(optimizer["state"][0]["step"]) == parent.steps + child.steps
    assert notes(worker)[0].startswith(f"begins with the weights of step {parent.steps} of")


def test_once_begun_it_goes_on_from_its_own_checkpoint(tmp_path: Path) -> None:
    parent, _ = Run(tmp_path / "parent", optimizer=quickly, schedule=None).go()
    follow(tmp_path / "child", tmp_path / "parent")
    (tmp_path / "child" / "finished.json").unlink()
    child, worker = follow(tmp_path / "child", tmp_path / "parent")
    assert not any(text.startswith("begins with") for text in notes(worker))
    assert child.steps == parent.steps // 2
    assert child.attempts == 2


def test_a_parent_without_a_checkpoint_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint to begin from"):
        follow(tmp_path / "child", tmp_path / "nobody")
