"""The samplers and pruners that a configuration names."""

import subprocess
import sys
import warnings
from typing import Any

import optuna
import pytest

from aiplat.tuning.config import TuningConfig
from aiplat.tuning.methods import make_pruner, make_sampler
from tests.tuning.studies import draw, ended, go, open_study, score


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tpe", optuna.samplers.TPESampler),
        ("gp", optuna.samplers.GPSampler),
        ("cmaes", optuna.samplers.CmaEsSampler),
        ("nsga2", optuna.samplers.NSGAIISampler),
        ("random", optuna.samplers.RandomSampler),
        ("grid", optuna.samplers.RandomSampler),
    ],
)
def test_a_sampler_is_made_by_its_name_without_a_warning(name: Any, kind: type[Any]) -> None:
    assert type(make_sampler(TuningConfig(sampler=name), seed=1)) is kind


@pytest.mark.parametrize("sampler", ["tpe", "gp", "cmaes", "nsga2", "random"])
def test_a_sampler_that_is_made_anew_for_each_trial_searches_all_the_same(sampler: str) -> None:
    study = open_study(None, num_trials=14, sampler=sampler)
    drawn = go(study)
    # A child of NSGA-II may be as its parent.
    assert len({str(trial.values) for trial in drawn}) >= (10 if sampler == "nsga2" else 14)
    assert max(score(trial.values) for trial in drawn) > 0.9


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_sampler_is_moved_by_what_trials_before_have_shown(sampler: str) -> None:
    after = []
    for sign in (1, -1):
        study = open_study(None, num_trials=16, sampler=sampler)
        for _ in range(15):
            trial = draw(study)
            study.complete(trial.number, ended(sign * score(trial.values)))
        after.append(draw(study).values["model.dropout"])
    # Chance alone learns nothing; the others were shown where the best is, and where the worst.
    assert (after[0] == after[1]) == (sampler == "random")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("asha", optuna.pruners.SuccessiveHalvingPruner),
        ("median", optuna.pruners.MedianPruner),
        ("hyperband", optuna.pruners.HyperbandPruner),
        ("none", optuna.pruners.NopPruner),
    ],
)
def test_a_pruner_is_made_by_its_name_without_a_warning(name: Any, kind: type[Any]) -> None:
    assert type(make_pruner(TuningConfig(pruner=name, min_epochs=2))) is kind
    several = TuningConfig(pruner=name, objectives=["metric", "latency_ms"])
    assert type(make_pruner(several)) is optuna.pruners.NopPruner


def test_nothing_that_optuna_says_reaches_a_console(capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        go(open_study(None, num_trials=3, sampler="gp", pruner="asha"))
    assert capfd.readouterr() == ("", "")


def test_what_a_search_is_configured_with_imports_no_optuna() -> None:
    program = (
        "import sys\n"
        "import aiplat.jobs.schema\n"
        "sys.exit(f'imported {found}' if (found := {'optuna', 'torch'} & set(sys.modules)) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
