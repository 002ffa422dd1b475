"""A whole search, its trials trained in this process in place of a cluster."""

from pathlib import Path

import pytest

from aiplat.errors import AiplatError
from aiplat.training.result import read_result
from aiplat.tuning.notes import CAUSE, FAILURE, VALUES
from tests.jobs.searches import STEPS, Search


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_a_search_ends_with_its_number_of_trials_and_knows_the_best(search: Search) -> None:
    plans = search.go("tuning.num_trials=3")
    assert [plan.name for plan in plans] == ["search-0000", "search-0001", "search-0002"]
    results = [read_result(plan.job.run_dir) for plan in plans]
    with search.open("tuning.num_trials=3") as (opened, trials):
        scores = [result.metrics[opened.task.primary] for result in results if result]
        assert trials.next() is None
        study = opened.study
        assert (trials.is_over, study.stopped_because) == (True, "num_trials")
        assert [trial.values for trial in study.trials] == [[score] for score in scores]
        assert study.best()[0].values == [max(scores)]
        for plan, trial in zip(plans, study.trials, strict=True):
            assert plan.job.model["dropout"] == trial.user_attrs[VALUES]["model.dropout"]
            whole = (Path(plan.job.run_dir) / "config.yaml").read_text()
            assert f"lr: {trial.user_attrs[VALUES]['optim.lr']}" in whole
            assert list(trial.intermediate_values) == [1, 2, 3]


def test_a_setting_that_learns_beats_one_that_cannot(search: Search) -> None:
    space = "tuning.space={optim.lr: {choice: [1e-9, 0.03]}}"
    search.overrides = (space, "tuning.sampler=grid", "loop.max_epochs=8", "optim.weight_decay=0")
    assert len(search.go()) == 2
    with search.open() as (opened, _):
        assert opened.study.best()[0].user_attrs[VALUES] == {"optim.lr": 0.03}
        ranked = [trial.values[0] for trial in opened.study.ranked()]
        assert ranked[0] > 0.8 > ranked[1]
    assert search.seen[-1].state == "complete"


def test_a_search_whose_driver_died_goes_on_from_the_trials_checkpoints(search: Search) -> None:
    with search.open() as (_, trials):
        first, second = trials.next(), trials.next()
        assert first is not None
        assert second is not None
        search.cut_off(trials, second, after=4)
        search.run(trials, first)
    before = dict(search.steps)
    assert (len(before[0]), max(before[1])) == (3 * STEPS, 4)
    after = search.go()
    assert [plan.number for plan in after] == [1, 2, 3]
    resumed = after[0]
    assert (resumed.name, resumed.job.model) == (second.name, second.job.model)
    # It goes on from the last checkpoint, which is not yet written when the process dies.
    assert 3 <= min(search.steps[1]) <= 5
    assert max(search.steps[1]) == 3 * STEPS
    assert len(search.steps[2]) == 3 * STEPS
    result = read_result(resumed.job.run_dir)
    assert result is not None
    assert (result.attempts, result.steps) == (2, 3 * STEPS)


def test_a_trial_that_ended_as_its_driver_died_is_not_trained_again(search: Search) -> None:
    with search.open() as (_, trials):
        plan = trials.next()
        assert plan is not None
        search.run(trials, plan)
        other = trials.next()
        assert other is not None
        trials.complete = lambda number, ending: None  # type: ignore[method-assign]
        search.run(trials, other)
    search.steps.clear()
    assert [plan.number for plan in search.go(count=1)] == [1]
    assert search.steps == {1: []}


def test_a_group_may_vary_with_settings_of_one_option_only(search: Search) -> None:
    search.overrides = (
        "tuning.space={optim: {choice: [adamw, sgd]}, "
        "optim.momentum: {choice: [0.5, 0.9], when: {optim: sgd}}}",
        "tuning.sampler=grid",
        "tuning.num_trials=9",
        "loop.max_epochs=1",
    )
    plans = search.go()
    optimizers = [plan.job.recipe.make_optimizer for plan in plans]
    assert len(optimizers) == 3
    with search.open() as (opened, _):
        assert [trial.user_attrs[VALUES] for trial in opened.study.trials] == [
            {"optim": "adamw"},
            {"optim": "sgd", "optim.momentum": 0.5},
            {"optim": "sgd", "optim.momentum": 0.9},
        ]


def test_a_trial_that_is_no_configuration_fails_and_the_next_one_comes(search: Search) -> None:
    # Each of the settings composes, but not all of them together.
    search.overrides = (
        "optim=sgd",
        "tuning.space={optim: {choice: [adamw, sgd]}, optim.momentum: {choice: [0.5]}}",
        "tuning.enqueue=[{optim: adamw, optim.momentum: 0.5}, {optim: sgd, optim.momentum: 0.5}]",
    )
    with search.open() as (opened, trials):
        plan = trials.next()
        assert plan is not None
        assert plan.number == 1
        failed = opened.study.trials[0]
    assert (failed.state.name, failed.user_attrs[CAUSE]) == ("FAIL", "config")
    assert "torch.optim.AdamW has no such parameter" in failed.user_attrs[FAILURE]


def test_a_failed_trial_is_recorded_with_its_cause(search: Search) -> None:
    with search.open("tuning.num_trials=2") as (opened, trials):
        plan = trials.next()
        assert plan is not None
        trials.fail(plan.number, "oom", "oom: no memory left")
        other = trials.next()
        assert other is not None
        search.run(trials, other)
        failed, complete = opened.study.trials
    assert (failed.user_attrs[CAUSE], failed.user_attrs[FAILURE]) == ("oom", "oom: no memory left")
    assert (failed.state.name, complete.state.name) == ("FAIL", "COMPLETE")
    progress = next(item for item in search.seen if item.number == 0)
    assert (progress.state, progress.text) == ("failed", "oom: no memory left")
    with search.open("tuning.num_trials=2") as (opened, trials):
        assert trials.next() is None


@pytest.mark.parametrize("concurrent", [1, 3])
def test_a_study_whose_first_trials_all_fail_is_ended(search: Search, concurrent: int) -> None:
    with search.open("tuning.num_trials=20") as (opened, trials):
        running = [trials.next() for _ in range(concurrent - 1)]
        for _ in range(4):
            running.append(trials.next())
            plan = running.pop(0)
            assert plan is not None
            trials.fail(plan.number, "error", "error: no such file")
        running.append(trials.next())
        assert running[0] is not None
        with pytest.raises(AiplatError, match=r"the first 5 trials .* with: error: no such file"):
            trials.fail(running[0].number, "error", "error: no such file")
        assert len([trial for trial in opened.study.trials if trial.state.name == "FAIL"]) == 5


def test_failures_after_a_result_do_not_end_a_study(search: Search) -> None:
    with search.open("tuning.num_trials=8", "loop.max_epochs=1") as (_, trials):
        plan = trials.next()
        assert plan is not None
        search.run(trials, plan)
        for _ in range(6):
            plan = trials.next()
            assert plan is not None
            trials.fail(plan.number, "oom", "oom: no memory left")
        assert trials.next() is not None


def test_a_lost_trial_goes_on_and_a_second_loss_is_a_failure(search: Search) -> None:
    with search.open() as (opened, trials):
        plan = trials.next()
        assert plan is not None
        search.cut_off(trials, plan, after=4)
        trials.lost(plan.number, "lost", "lost: node gone")
        again = trials.next()
        assert again is not None
        assert (again.name, again.job.model) == (plan.name, plan.job.model)
        search.cut_off(trials, again, after=2)
        assert 3 <= min(search.steps[0]) <= 5
        trials.lost(plan.number, "lost", "lost: node gone")
        other = trials.next()
        assert other is not None
        assert other.number == 1
        trials.lost(other.number, "oom", "oom: no memory left")
        states = [trial.state.name for trial in opened.study.trials]
    assert states == ["FAIL", "FAIL"]


def test_a_pruned_trial_ends_at_once_and_its_epochs_are_noted(search: Search) -> None:
    search.overrides = (
        "tuning.space={optim.lr: {choice: [1e-9, 0.03]}}",
        "tuning.enqueue=[{optim.lr: 0.03}, {optim.lr: 1e-9}]",
        "tuning.num_trials=2",
        "loop.max_epochs=8",
        "tuning.pruner=asha",
        "tuning.min_epochs=4",
    )
    search.go()
    assert (len(search.steps[0]), len(search.steps[1])) == (8 * STEPS, 4 * STEPS)
    ended = {item.number: (item.state, item.text) for item in search.seen}
    assert ended == {0: ("complete", ""), 1: ("pruned", "after epoch 4")}


def test_checkpoints_remain_of_the_best_trials_only(search: Search) -> None:
    with search.open("tuning.keep=2", "tuning.num_trials=5") as (opened, trials):
        while (plan := trials.next()) is not None:
            search.run(trials, plan)
            ranked = [trial.number for trial in opened.study.ranked()[:2]]
            assert search.checkpoints() == [f"search-{number:04d}" for number in sorted(ranked)]


def test_checkpoints_of_an_earlier_driver_go_as_well_once_they_are_beaten(search: Search) -> None:
    search.overrides = (
        "tuning.space={optim.lr: {choice: [1e-9, 0.03]}}",
        "tuning.enqueue=[{optim.lr: 1e-9}, {optim.lr: 0.03}]",
        "tuning.num_trials=2",
        "tuning.keep=1",
        "loop.max_epochs=8",
    )
    search.go(count=1)
    assert search.checkpoints() == ["search-0000"]
    search.go()
    assert search.checkpoints() == ["search-0001"]


def test_a_trial_pruned_at_the_very_end_keeps_no_checkpoint(search: Search) -> None:
    with search.open("tuning.keep=1", "tuning.num_trials=2") as (_, trials):
        for _ in range(2):
            plan = trials.next()
            assert plan is not None
            if plan.number == 0:
                search.run(trials, plan)
        assert plan is not None
        trials.study.report = lambda *_, **__: True  # type: ignore[method-assign]
        search.run(trials, plan)
    assert search.checkpoints() == ["search-0000"]


def test_all_checkpoints_are_kept_where_none_are_to_go(search: Search) -> None:
    search.go("tuning.keep=null", "tuning.num_trials=3", "loop.max_epochs=1")
    assert len(search.checkpoints()) == 3
