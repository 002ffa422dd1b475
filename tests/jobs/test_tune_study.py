"""A study is begun, taken up again or refused before any trial."""

from pathlib import Path

import pytest

from aiplat.errors import ConfigError
from aiplat.tuning.notes import VALUES
from tests.jobs.searches import SPACE, Search


@pytest.fixture
def search(tmp_path: Path) -> Search:
    return Search(tmp_path)


def test_a_study_that_is_held_is_refused(search: Search) -> None:
    with (
        search.open(),
        pytest.raises(ConfigError, match="another process runs this study"),
        search.open(),
    ):
        pass


def test_a_study_has_a_name_of_its_own_or_that_of_the_run(search: Search) -> None:
    assert search.go("tuning.study=colors", count=1)[0].name == "colors-0000"
    assert search.go(count=1)[0].name == "search-0000"
    assert sorted(path.name for path in (search.storage / "studies").iterdir()) == [
        "colors",
        "search",
    ]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("{optim.rl: {choice: [1]}}", r"tuning\.space: optim\.rl=1 is no configuration"),
        ("{optim.lrr: {choice: [1]}}", r"did you mean 'lr'"),
        ("{loop.max_epoch: {choice: [1]}}", r"did you mean 'loop\.max_epochs'"),
        ("{loop.max_epochs: {int: [0, 3]}}", r"loop\.max_epochs=0 is no configuration"),
        ("{optim.lr: {unifrom: [0, 1]}}", r"tuning\.space\.optim\.lr: .*did you mean 'uniform'"),
        ("{optim: {choice: [adamw, sdg]}}", r"there is no optim/sdg\.yaml"),
        ("{}", r"tuning\.space is empty: say what to search"),
    ],
)
def test_a_space_that_does_not_compose_is_refused(search: Search, space: str, said: str) -> None:
    search.overrides = (f"tuning.space={space}",)
    with pytest.raises(ConfigError, match=said), search.open():
        pass
    assert not (search.storage / "studies").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seed=5", "seed: was 0, now 5"),
        ("loop.max_epochs=4", "loop.max_epochs: was 3, now 4"),
        ("tuning.sampler=tpe", "tuning.sampler: was 'random', now 'tpe'"),
        ("tuning.space.model.dropout.uniform=[0,0.5]", "tuning.space.model.dropout"),
    ],
)
def test_an_experiment_that_changed_does_not_go_on(search: Search, change: str, said: str) -> None:
    with search.open():
        pass
    with pytest.raises(ConfigError) as refused, search.open(change):
        pass
    message = str(refused.value)
    assert message.startswith("study 'search' (")
    assert said in message
    assert "choose another tuning.study= for this one" in message


@pytest.mark.parametrize(
    "change",
    [
        "tuning.num_trials=9",
        "tuning.max_seconds=60",
        "tuning.keep=1",
        "tuning.enqueue=[{optim.lr: 0.01}]",
        "scale.num_workers=1",
        "loop.log_every_steps=2",
        "register.name=colors",
    ],
)
def test_what_does_not_decide_the_outcome_may_change(search: Search, change: str) -> None:
    with search.open():
        pass
    with search.open(change) as (opened, _):
        assert opened.study.has_more


def test_a_study_that_could_not_begin_may_begin_once_that_is_mended(search: Search) -> None:
    with pytest.raises(ConfigError, match="cannot use"), search.open("tuning.storage=study.db"):
        pass
    with search.open() as (opened, _):
        assert opened.study.has_more


def test_points_are_tried_first_and_those_outside_are_refused(search: Search) -> None:
    enqueue = "tuning.enqueue=[{optim.lr: 0.01, model.dropout: 0}, {optim.lr: 0.02}]"
    with search.open(enqueue) as (opened, trials):
        plans = [trials.next(), trials.next()]
        noted = [trial.user_attrs[VALUES] for trial in opened.study.trials]
    assert noted[0] == {"optim.lr": 0.01, "model.dropout": 0.0}
    assert noted[1]["optim.lr"] == 0.02
    assert plans[0] is not None
    assert plans[0].job.model["dropout"] == 0
    wrong = "tuning.enqueue=[{optim.lr: 0.01}, {optim.rl: 0.01}]"
    with (
        pytest.raises(ConfigError, match=r"tuning\.enqueue\[1\]: 'optim\.rl' is not in"),
        search.open(wrong),
    ):
        pass


def test_a_study_begins_where_an_earlier_one_was_best(search: Search) -> None:
    first = ("tuning.study=first", "tuning.num_trials=3")
    search.overrides = (SPACE, "loop.max_epochs=1")
    search.go(*first)
    with search.open(*first) as (earlier, _):
        best = [trial.user_attrs[VALUES] for trial in earlier.study.ranked()[:2]]
    warm = ("tuning.warm_start=first", "tuning.warm_start_trials=2")
    with search.open("tuning.study=second", *warm) as (opened, trials):
        for _ in range(3):
            trials.next()
        values = [trial.user_attrs[VALUES] for trial in opened.study.trials]
    assert values[:2] == best
    assert values[2] not in best
    # Of a smaller space, what is left of them.
    narrow = "tuning.space={optim.lr: {loguniform: [1e-4, 1e-1]}}"
    search.overrides = (narrow, "loop.max_epochs=1")
    with search.open("tuning.study=third", *warm) as (opened, trials):
        assert trials.next() is not None
        (trial,) = opened.study.trials
        assert trial.user_attrs[VALUES] == {"optim.lr": best[0]["optim.lr"]}


@pytest.mark.parametrize("storage", ["null", "sqlite"])
@pytest.mark.parametrize("name", ["nowhere", "search"])
def test_an_earlier_study_that_is_none_is_refused_with_those_there_are(
    search: Search, storage: str, name: str
) -> None:
    url = "null" if storage == "null" else f"sqlite:///{search.storage}/shared.db"
    search.overrides = (SPACE, f"tuning.storage={url}")
    search.go("tuning.study=first", count=0)
    with (
        pytest.raises(ConfigError, match=rf"tuning\.warm_start is '{name}', expected another"),
        search.open(f"tuning.warm_start={name}"),
    ):
        pass


def test_an_engine_that_there_is_not_is_told_before_a_trial_starts(search: Search) -> None:
    with (
        pytest.raises(ConfigError, match="engine is 'openvinno', expected one of"),
        search.open("tuning.engine=openvinno"),
    ):
        pass
