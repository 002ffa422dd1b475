"""Searches on a real cluster: trials that die, trials of several workers, a driver that dies."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest

from aiplat.cluster.session import Session
from aiplat.datasets.synthetic import separable_table
from aiplat.training.result import read_result
from aiplat.tuning.notes import CAUSE, EPOCHS, FAILURE, VALUES

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

EXPERIMENT = """# @package _global_
defaults:
  - override /task: tabular_classification
  - override /schedule: constant
  - override /tracking: none
  - _self_
name: fragile
dataset: {name: table, batch_size: 64}
model: {_target_: tests.cluster.fragile.Fragile}
loop: {max_epochs: 4, precision: fp32}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset and an experiment in it."""
    place = tmp_path_factory.mktemp("tuning")
    separable_table(400).write(str(place / "storage"), "table", num_val=50, num_test=50)
    (place / "exp").mkdir()
    (place / "exp" / "fragile.yaml").write_text(EXPERIMENT)
    return place


def tune(place: Path, *overrides: str) -> list[str]:
    return [
        *(sys.executable, "-m", "aiplat.jobs.tune", "--config-dir", str(place), "+exp=fragile"),
        *(f"storage={place / 'storage'}", *overrides),
    ]


def finished(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def trials_of(place: Path, study: str) -> list[optuna.trial.FrozenTrial]:
    database = place / "storage" / "studies" / study / "study.db"
    return optuna.load_study(study_name=study, storage=f"sqlite:///{database}").trials


def summary_of(place: Path, study: str) -> dict[str, Any]:
    report = place / "storage" / "studies" / study / "report" / "summary.json"
    found: dict[str, Any] = json.loads(report.read_text())
    return found


def test_trials_that_fail_are_listed_with_their_cause_and_the_others_go_on(
    place: Path, cluster: Session
) -> None:
    ways = ["good", "raises", "diverges", "hungry", "killed"]
    said = finished(
        tune(
            place,
            f"cluster.address={cluster.address}",
            "tuning.study=ways",
            f"tuning.space.model.way.choice=[{','.join(ways)}]",
            "tuning.sampler=grid",
        )
    )
    trials = {trial.user_attrs[VALUES]["model.way"]: trial for trial in trials_of(place, "ways")}
    assert list(trials) == ways
    assert trials["good"].state == optuna.trial.TrialState.COMPLETE
    assert trials["good"].value is not None
    assert trials["good"].value > 0.9
    causes = {way: trial.user_attrs.get(CAUSE) for way, trial in trials.items()}
    assert causes == {
        "good": None,
        "raises": "code",
        "diverges": "nan",
        "hungry": "oom",
        "killed": "lost",
    }
    for way in ways[1:]:
        assert trials[way].user_attrs[FAILURE].startswith(f"{causes[way]} ")
        assert f"trial {trials[way].number} failed" in said
    assert "ValueError: a bug in the model" in trials["raises"].user_attrs[FAILURE]
    assert summary_of(place, "ways")["counts"]["failed"] == 4


def test_trials_of_two_workers_are_pruned_at_epochs(place: Path, cluster: Session) -> None:
    finished(
        tune(
            place,
            f"cluster.address={cluster.address}",
            "tuning.study=pairs",
            "scale={num_workers: 2, cpus_per_worker: 0.5}",
            "tuning.space.model.quality.choice=[1.0,0.0]",
            "tuning.sampler=grid",
            "tuning.reduction_factor=2",
            "loop.max_epochs=24",
        )
    )
    good, bad = trials_of(place, "pairs")
    assert good.state == optuna.trial.TrialState.COMPLETE
    assert bad.state == optuna.trial.TrialState.PRUNED
    # Asked at each epoch; it may have gone on for a few of these short ones until it was ended.
    assert list(bad.intermediate_values) == list(range(1, bad.user_attrs[EPOCHS] + 1))
    assert bad.user_attrs[EPOCHS] < 24
    counts = summary_of(place, "pairs")["counts"]
    assert counts["pruned"] == 1
    assert counts["saved_epochs"] == 24 - bad.user_attrs[EPOCHS]


def test_a_search_whose_driver_is_killed_goes_on_with_what_it_knew(
    place: Path, cluster: Session
) -> None:
    command = tune(
        place,
        *(f"cluster.address={cluster.address}", "tuning.study=cut", "tuning.num_trials=4"),
        "tuning.space.optim.lr.loguniform=[1e-4,1e-1]",
        *("tuning.pruner=none", "loop.max_epochs=8"),
    )
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while num_ended(place, "cut") < 1:
        assert driver.poll() is None
        time.sleep(0.2)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    before = {trial.number: trial for trial in trials_of(place, "cut")}
    under_way = [trial.number for trial in before.values() if not trial.state.is_finished()]
    assert under_way
    finished(command)
    after = trials_of(place, "cut")
    assert [trial.number for trial in after] == list(range(4))
    assert all(trial.state == optuna.trial.TrialState.COMPLETE for trial in after)
    assert len({trial.params["optim.lr"] for trial in after}) == 4
    for number, trial in before.items():
        assert after[number].params == trial.params
        if number not in under_way:
            assert after[number].datetime_complete == trial.datetime_complete
    results = [read_result(str(place / "storage" / "runs" / f"cut-{n:04d}")) for n in under_way]
    # They went on in the folders they had begun in.
    assert all(result is not None and result.epochs == 8 for result in results)


def num_ended(place: Path, study: str) -> int:
    """How many trials ended, as far as the database can tell yet; nothing is changed by asking."""
    database = place / "storage" / "studies" / study / "study.db"
    query = "SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED', 'FAIL')"
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return int(connection.execute(query).fetchone()[0])
    except sqlite3.OperationalError:
        # It, or its tables, are being made.
        return 0
