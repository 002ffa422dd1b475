"""What comes of a study: its report and its best trial as an experiment."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from aiplat.config.compose import compose
from aiplat.jobs.record import as_recorded
from aiplat.jobs.schema import TrainConfig
from aiplat.jobs.tune_outcome import conclude
from aiplat.tracking.tracker import NoTracker
from aiplat.tuning.notes import VALUES
from tests.jobs.searches import SPACE, Search


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_the_outcome_is_a_report_and_an_experiment_that_trains_the_best(search: Search) -> None:
    search.overrides = (SPACE, "tuning.num_trials=2", "loop.max_epochs=1")
    console = Console(file=io.StringIO(), record=True, width=200)
    with search.open() as (opened, trials):
        while (plan := trials.next()) is not None:
            search.run(trials, plan)
        conclude(console, opened, trials, NoTracker())
        best = opened.study.best()[0]
        expected = trials.configured(best.user_attrs[VALUES], "search_best")
        folder, primary = Path(opened.folder), opened.task.primary
    summary = json.loads((folder / "report" / "summary.json").read_text())
    assert summary["best"][0][primary] == best.values[0]
    overrides = ["+exp=search_best", f"storage={search.storage}", "tracking=none"]
    again = compose("train", TrainConfig, overrides, [folder])
    # As many workers as the trial had, for the same random numbers.
    assert again.scale.num_workers == 1
    expected.scale.num_workers = 1
    assert as_recorded(again) == as_recorded(expected)
    assert "num_trials" in console.export_text()


def test_objectives_are_called_by_their_names(search: Search) -> None:
    search.overrides = (SPACE, "tuning.num_trials=1", "loop.max_epochs=1")
    with search.open("tuning.objectives=[metric,num_parameters]") as (opened, trials):
        plan = trials.next()
        assert plan is not None
        search.run(trials, plan)
        conclude(Console(quiet=True), opened, trials, NoTracker())
        folder, primary = Path(opened.folder), opened.task.primary
    (best,) = json.loads((folder / "report" / "summary.json").read_text())["best"]
    assert 0 <= best[primary] <= 1 < best["num_parameters"]
