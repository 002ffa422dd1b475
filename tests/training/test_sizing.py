"""Batch sizes found by trying: the search, what is kept of it, and that the run does not notice."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aiplat.errors import ConfigError
from aiplat.training import sizing
from aiplat.training.local import LocalWorker
from aiplat.training.loop import fit
from aiplat.training.sizing import largest, sized
from tests.fakes import TinyTask, splits
from tests.training.lightning.modules import task as lightning_task
from tests.training.runs import Run, losses, notes, smooth_model


@pytest.mark.parametrize(
    ("limit", "most", "found"),
    [(1000, 64, 64), (37, 1000, 36), (100, 1000, 96), (3, 1000, 3), (1, 50, 0), (5, 1, 1)],
)
def test_the_search_comes_within_an_eighth_of_what_fits(limit: int, most: int, found: int) -> None:
    tried: list[int] = []

    def fits(rows: int) -> bool:
        tried.append(rows)
        return rows <= limit

    assert largest(fits, most) == found
    assert len(tried) == len(set(tried))
    assert max(tried) <= most


def of_auto(folder: Path, **loop: Any) -> tuple[Run, Any]:
    run = Run(folder / "runs/one", splits(train=400), loop=loop)
    recipe = run.recipe()
    dataset = replace(recipe.dataset, batch_size="auto")
    return run, replace(recipe, dataset=dataset, cache=str(folder / "cache"))


def worker_of(run: Run, task: Any = None) -> LocalWorker:
    return LocalWorker(run.tables, task or TinyTask(smooth_model()), str(run.folder))


def limited(monkeypatch: pytest.MonkeyPatch, rows: int) -> list[int]:
    """A device that holds so many rows; what was tried on it, each a real step."""
    tried: list[int] = []

    def fits(trial: Any, num_rows: int) -> bool:
        tried.append(num_rows)
        trial._step(num_rows)
        return num_rows <= rows

    monkeypatch.setattr(sizing._Trial, "fits", fits)
    return tried


@pytest.mark.parametrize("make", [lambda: TinyTask(smooth_model()), lightning_task])
def test_a_run_of_an_automatic_size_is_that_of_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    limited(monkeypatch, 13)
    run, recipe = of_auto(tmp_path)
    optimizers: dict[str, Any] = {}
    if make is lightning_task:
        optimizers = {"make_optimizer": None, "make_schedule": None}
    recipe = replace(recipe, **optimizers)
    task = make()
    worker = worker_of(run, task)
    fit(task, worker, recipe)
    assert notes(worker)[0] == "dataset.batch_size=auto is 13 rows a step"
    same = make()
    beside = LocalWorker(run.tables, same, str(tmp_path / "beside"))
    fit(same, beside, replace(recipe, dataset=replace(recipe.dataset, batch_size=13)))
    assert losses(worker) == losses(beside)


def test_a_run_keeps_its_size_and_others_take_what_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = limited(monkeypatch, 16)
    run, recipe = of_auto(tmp_path, accumulate=2)
    worker = worker_of(run)
    assert sized(recipe, worker.task, worker).batch_size == 32
    tried.clear()
    # A cache that is lost costs the run nothing, whatever would fit now.
    limited(monkeypatch, 4)
    again = replace(recipe, cache=str(tmp_path / "other"))
    assert sized(again, worker.task, worker).batch_size == 32
    other = worker_of(Run(tmp_path / "runs/two", run.tables))
    assert sized(recipe, other.task, other).batch_size == 32
    assert tried == []
    wider = TinyTask(torch.nn.Linear(2, 3))
    third = LocalWorker(run.tables, wider, str(tmp_path / "runs/three"))
    assert sized(recipe, wider, third).batch_size == 8


def test_a_real_search_leaves_the_task_as_it_was(tmp_path: Path) -> None:
    run, recipe = of_auto(tmp_path)
    task = TinyTask(smooth_model())
    before = [weight.clone() for weight in task.model.parameters()]
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    rows = sized(recipe, task, worker_of(run, task)).batch_size
    assert torch.rand(1) == expected
    assert all(map(torch.equal, before, task.model.parameters()))
    assert 2 <= rows <= 40, "an epoch keeps ten steps"


def test_a_model_too_large_for_its_device_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, 1)
    run, recipe = of_auto(tmp_path)
    worker = worker_of(run)
    with pytest.raises(ConfigError, match="not even a batch of two rows fits"):
        sized(recipe, worker.task, worker)
