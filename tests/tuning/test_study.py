"""A study outlives its driver: what it hands out, takes in and remembers."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from aiplat.tuning.notes import CAUSE, EPOCHS, FAILURE, METRICS, SECONDS, VALUES
from aiplat.tuning.space import space_of
from tests.tuning.studies import SPACE, draw, ended, go, open_study, score, states

GRID: dict[str, Any] = {
    "dataset.batch_size": {"choice": [32, 64]},
    "model.widths": {"choice": [[8], [8, 8]], "when": {"dataset.batch_size": 64}},
}


def test_a_trial_is_drawn_told_of_and_kept_with_how_it_ended(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    first = draw(study)
    assert (first.number, first.is_resumed, set(first.values)) == (0, False, set(SPACE))
    assert not study.report(0, 1, 0.25)
    study.complete(0, ended(0.5, epochs=4))
    study.fail(draw(study).number, "oom", "oom: no memory")
    draw(study)
    study.report(2, 3, 0.1, seconds=2.5)
    study.prune(2)
    again = open_study(tmp_path)
    done, failed, pruned = again.trials
    assert (done.values, done.intermediate_values) == ([0.5], {1: 0.25})
    assert done.user_attrs == {
        VALUES: first.values,
        EPOCHS: 4,
        SECONDS: 1.5,
        METRICS: {"accuracy": 0.5},
    }
    assert (failed.user_attrs[CAUSE], failed.user_attrs[FAILURE]) == ("oom", "oom: no memory")
    assert (pruned.user_attrs[EPOCHS], pruned.user_attrs[SECONDS]) == (3, 2.5)
    assert states(again) == ["complete", "fail", "pruned"]


def test_a_study_ends_after_its_number_of_trials(tmp_path: Path) -> None:
    study = open_study(tmp_path, num_trials=4)
    assert study.has_more
    drawn = go(study)
    assert [trial.number for trial in drawn] == [0, 1, 2, 3]
    assert (study.is_over, study.has_more, study.stopped_because) == (True, False, "num_trials")
    best = max(drawn, key=lambda trial: score(trial.values))
    assert [trial.number for trial in study.best()] == [best.number]
    assert [trial.values[0] for trial in study.ranked()] == sorted(
        (score(trial.values) for trial in drawn), reverse=True
    )


def test_a_study_is_not_over_while_a_trial_runs(tmp_path: Path) -> None:
    study = open_study(tmp_path, num_trials=1)
    draw(study)
    assert study.draw() is None
    assert not study.is_over
    study.complete(0, ended(0.5))
    assert study.is_over


def test_a_metric_to_be_minimized_ranks_the_lowest_first(tmp_path: Path) -> None:
    study = open_study(tmp_path, directions=("minimize",), num_trials=3)
    for value in (0.5, 0.25, 1.0):
        study.complete(draw(study).number, ended(value))
    assert [trial.number for trial in study.ranked()] == [1, 0, 2]
    assert [trial.number for trial in study.best()] == [1]


def test_who_opens_a_study_takes_up_what_was_running(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    before = [draw(study) for _ in range(4)]
    study.complete(1, ended(0.5))
    del study
    again = open_study(tmp_path)
    after = go(again)
    assert [(trial.number, trial.is_resumed) for trial in after] == [
        (0, True),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
    ]
    assert [trial.values for trial in after[:3]] == [
        before[0].values,
        *(t.values for t in before[2:]),
    ]
    assert len(again.trials) == again.config.num_trials == 6
    assert again.trials[1].values == [0.5]
    assert open_study(tmp_path).draw() is None


def test_a_study_cut_off_after_every_trial_has_no_more_trials_than_it_should(
    tmp_path: Path,
) -> None:
    for _ in range(5):
        study = open_study(tmp_path)
        done, cut_off = draw(study), draw(study)
        study.complete(done.number, ended(score(done.values)))
        assert not cut_off.is_resumed
    assert states(open_study(tmp_path)) == [*["complete"] * 5, "running"]
    assert len(go(open_study(tmp_path))) == 1


def test_more_trials_asked_for_later_are_added_to_those_there_are(tmp_path: Path) -> None:
    first = go(open_study(tmp_path, num_trials=2))
    more = open_study(tmp_path, num_trials=5)
    assert more.has_more
    after = go(more)
    assert [trial.number for trial in after] == [2, 3, 4]
    assert len({str(trial.values) for trial in [*first, *after]}) == 5


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_study_cut_off_draws_what_an_undisturbed_one_draws(tmp_path: Path, sampler: str) -> None:
    for folder in ("whole", "cut"):
        (tmp_path / folder).mkdir()
    # TPE draws at random until it has ten results.
    whole = go(open_study(tmp_path / "whole", num_trials=16, sampler=sampler))
    cut = []
    for count in (1, 3, 7, 4, 1):
        cut += go(open_study(tmp_path / "cut", num_trials=16, sampler=sampler), count)
    assert [trial.values for trial in cut] == [trial.values for trial in whole]
    assert len({str(trial.values) for trial in cut}) == 16


def test_tpe_finds_more_than_chance_does() -> None:
    found = {}
    for sampler in ("random", "tpe"):
        study = open_study(None, num_trials=40, sampler=sampler)
        last = [score(trial.values) for trial in go(study)[20:]]
        found[sampler] = sum(last) / len(last)
    assert found["tpe"] > 0.9 > found["random"]


def test_what_is_suggested_comes_first_and_once(tmp_path: Path) -> None:
    points = [{"optim.lr": 0.01, "model.dropout": 0.1}, {"optim.lr": 0.02, "model.dropout": 0.3}]
    study = open_study(tmp_path)
    study.suggest_first(points, "enqueue")
    assert draw(study).values == points[0]
    again = open_study(tmp_path)
    again.suggest_first(points, "enqueue")
    after = go(again)
    assert [trial.values for trial in after[:2]] == points
    assert [trial.values for trial in after].count(points[1]) == 1
    assert len(after) == 6


def test_what_a_suggestion_leaves_open_is_drawn_anew_for_each(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.suggest_first([{"optim.lr": 0.01}, {"optim.lr": 0.02}], "enqueue")
    drawn = go(study)
    assert [trial.values["optim.lr"] for trial in drawn[:2]] == [0.01, 0.02]
    assert len({trial.values["model.dropout"] for trial in drawn}) == 6


def test_a_grid_ends_after_all_of_its_points(tmp_path: Path) -> None:
    points = space_of(GRID).grid()
    assert len(points) == 3
    study = open_study(tmp_path, GRID, sampler="grid", num_trials=20)
    study.suggest_first(points, "grid")
    assert [trial.values for trial in go(study, 2)] == points[:2]
    again = open_study(tmp_path, GRID, sampler="grid", num_trials=20)
    again.suggest_first(points, "grid")
    assert [trial.values for trial in go(again)] == points[2:]
    assert (again.is_over, again.stopped_because) == (True, "grid")


def test_asha_ends_what_is_clearly_worse_at_the_first_look_and_not_the_best(tmp_path: Path) -> None:
    study = open_study(tmp_path, pruner="asha", min_epochs=3, reduction_factor=3)
    ended_at: dict[int, int] = {}
    # The best comes first, the others are worse by a tenth each.
    for number in range(6):
        draw(study)
        for epoch in range(1, 10):
            if study.report(number, epoch, 0.9 - 0.1 * number + 0.001 * epoch):
                study.prune(number)
                ended_at[number] = epoch
                break
        else:
            study.complete(number, ended(0.9 - 0.1 * number))
    # With fewer than three to compare, only the best so far goes on.
    assert ended_at == {1: 3, 2: 3, 3: 3, 4: 3, 5: 3}
    assert states(study) == ["complete", *["pruned"] * 5]
    assert [trial.number for trial in study.best()] == [0]


def test_asha_looks_again_after_as_many_times_more_epochs() -> None:
    study = open_study(None, pruner="asha", min_epochs=1, reduction_factor=3)
    for epoch in range(1, 10):
        assert not study.report(draw(study).number if epoch == 1 else 0, epoch, 0.5)
    study.complete(0, ended(0.5))
    draw(study)
    # Better at its first epoch, worse at its third.
    assert [study.report(1, epoch, value) for epoch, value in ((1, 0.6), (2, 0.1), (3, 0.4))] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("pruner", ["median", "hyperband"])
def test_the_other_pruners_end_what_is_clearly_worse(pruner: str) -> None:
    study = open_study(None, pruner=pruner, min_epochs=3, num_trials=30)
    pruned: list[int] = []
    for number in range(20):
        draw(study)
        value = 0.9 if number < 8 else 0.1
        for epoch in range(1, 10):
            if study.report(number, epoch, value):
                assert epoch >= 3
                study.prune(number)
                pruned.append(number)
                break
        else:
            study.complete(number, ended(value))
    assert len(set(pruned) & set(range(8, 20))) >= 6
    assert states(study)[0] == "complete"


def test_a_trial_goes_on_at_the_looks_it_has_passed(tmp_path: Path) -> None:
    study = open_study(tmp_path, pruner="asha", min_epochs=1, reduction_factor=3)
    for number, value in enumerate((0.9, 0.95)):
        draw(study)
        assert not study.report(number, 1, value)
    again = open_study(tmp_path, pruner="asha", min_epochs=1, reduction_factor=3)
    assert (draw(again).number, draw(again).number) == (0, 1)
    # It trains its first epoch once more, and is not measured against itself.
    assert not again.report(1, 1, 0.95)
    assert not again.report(1, 2, 0.95)


def test_several_objectives_have_a_front_and_no_pruning(tmp_path: Path) -> None:
    study = open_study(
        tmp_path,
        directions=("maximize", "minimize"),
        objectives=["metric", "num_parameters"],
        pruner="asha",
        min_epochs=1,
    )
    assert study.best() == []
    for values in ((0.9, 100.0), (0.8, 50.0), (0.7, 80.0), (0.95, 400.0)):
        number = draw(study).number
        assert not study.report(number, 5, values[0] / 10)
        study.complete(number, ended(*values))
    assert sorted(trial.number for trial in study.best()) == [0, 1, 3]
    assert [trial.number for trial in study.ranked()] == [3, 0, 1, 2]


def test_a_trial_given_back_is_handed_out_again_before_any_other(tmp_path: Path) -> None:
    study = open_study(tmp_path, num_trials=3)
    first, second = draw(study), draw(study)
    study.give_back(first.number)
    again = draw(study)
    assert (again.number, again.values, again.is_resumed) == (0, first.values, True)
    study.give_back(second.number)
    assert [study.draw() is not None for _ in range(3)] == [True, True, False]
    assert len(study.trials) == 3


def test_a_trial_given_back_at_the_end_keeps_the_study_from_being_over(tmp_path: Path) -> None:
    study = open_study(tmp_path, num_trials=1)
    draw(study)
    assert study.draw() is None
    study.give_back(0)
    assert not study.is_over
    assert study.has_more
    go(study)
    assert study.is_over


def test_no_trial_starts_after_the_time_is_up_but_those_begun_are_ended(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    draw(study)
    late = open_study(tmp_path, max_seconds=100)
    late.opened_at -= 101
    assert draw(late).number == 0
    assert late.draw() is None
    assert late.stopped_because == "max_seconds"
    late.complete(0, ended(0.5))
    assert late.is_over
    in_time = open_study(tmp_path, max_seconds=100)
    in_time.opened_at -= 90
    assert in_time.has_more


def test_a_trial_cut_off_before_its_values_were_noted_is_drawn_to_the_end(tmp_path: Path) -> None:
    study = open_study(tmp_path)
    study.suggest_first([{"optim.lr": 0.01, "model.dropout": 0.25}], "enqueue")
    trial = study.optuna.ask()
    trial.suggest_float("optim.lr", 1e-4, 1e-1, log=True)
    again = draw(open_study(tmp_path))
    assert (again.number, again.is_resumed) == (0, True)
    assert again.values == {"optim.lr": 0.01, "model.dropout": 0.25}


@pytest.mark.parametrize("sampler", ["random", "tpe", "gp", "cmaes", "nsga2"])
def test_a_trial_cut_off_while_it_was_drawn_has_values_of_its_own(
    tmp_path: Path, sampler: str
) -> None:
    study = open_study(tmp_path, sampler=sampler)
    study.complete(draw(study).number, ended(0.5))
    study.optuna.ask()
    values = [trial.values for trial in go(open_study(tmp_path, sampler=sampler))]
    assert all(set(each) == set(SPACE) for each in values)
    assert len({json.dumps(dict(each)) for each in values}) == 5


def test_a_metric_that_is_no_number_is_a_failure_that_says_so(tmp_path: Path) -> None:
    study = open_study(tmp_path, num_trials=2)
    number = draw(study).number
    assert not study.report(number, 1, math.nan)
    study.complete(number, ended(math.nan))
    study.complete(draw(study).number, ended(0.5))
    assert [trial.number for trial in study.best()] == [1]
    assert study.trials[0].state.name == "FAIL"
    assert "nan" in study.trials[0].user_attrs[FAILURE]


def test_a_study_with_patience_ends_after_so_many_trials_that_were_no_better() -> None:
    study = open_study(None, num_trials=100, patience=3)
    for value in (0.5, 0.4, 0.6, 0.6):
        study.complete(draw(study).number, ended(value))
    study.fail(draw(study).number, "code", "code: a bug")
    study.complete(draw(study).number, ended(0.1))
    assert study.draw() is None
    assert study.stopped_because == "patience"
    assert len(study.trials) == 6
