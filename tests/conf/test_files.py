"""Every file under conf/ composes with each root that takes it, and every target binds."""

from pathlib import Path

import pytest

from aiplat.config.compose import compose
from aiplat.config.description import additions, first_comment
from aiplat.config.search import conf_dir, groups, listed
from aiplat.errors import ConfigError
from aiplat.jobs import schema
from aiplat.jobs.listing import job_purposes
from tests.conf.roots import REQUIRED, ROOTS

CONF = conf_dir()
GROUPS = groups((CONF,))
EXPERIMENTS = sorted(GROUPS["exp"])
PROMISED = {"bert", "bert_lightning", "clip", "clip_contrastive", "resnet50", "tabular"}


def takers(group: str) -> list[str]:
    """The roots that choose from a group."""
    return [name for name in sorted(ROOTS) if group in listed(CONF / f"{name}.yaml")]


def pairs() -> list[tuple[str, str]]:
    """Every root with every experiment it can take."""
    return [
        (name, option)
        for name in sorted(ROOTS)
        for option in sorted(additions(name, (CONF,)).get("exp", {}))
    ]


def options() -> list[tuple[str, str, str]]:
    """Every root with every option of the groups it chooses from, models and tasks left out.

    Those two go together as experiments pair them.
    """
    return [
        (name, group, option)
        for group, files in sorted(GROUPS.items())
        if group not in ("model", "task")
        for option in files
        for name in takers(group)
    ]


def test_each_job_has_a_root_file_a_dataclass_and_a_module() -> None:
    assert {file.stem for file in CONF.glob("*.yaml")} == set(ROOTS)
    assert set(job_purposes()) == set(ROOTS)


def test_the_promised_experiments_are_there_and_train_takes_all() -> None:
    assert set(EXPERIMENTS) >= PROMISED
    assert len(GROUPS["exp"]) == len(list((CONF / "exp").rglob("*.yaml")))
    assert {option for name, option in pairs() if name == "train"} == set(EXPERIMENTS)


@pytest.mark.parametrize("name", sorted(ROOTS))
def test_each_root_composes_with_what_only_the_user_can_say(name: str) -> None:
    assert isinstance(compose(name, ROOTS[name], REQUIRED[name]), ROOTS[name])


@pytest.mark.parametrize(("name", "option"), pairs())
def test_every_experiment_composes_with_every_root_that_takes_it(name: str, option: str) -> None:
    assert compose(name, ROOTS[name], [f"+exp={option}"]).name == option


@pytest.mark.parametrize("option", EXPERIMENTS)
def test_every_experiment_can_be_tried_in_one_step(option: str) -> None:
    config = compose("train", schema.TrainConfig, [f"+exp={option}", "+debug=fast"])
    assert (config.loop.max_steps, config.register.name) == (1, None)
    assert config.tracking["_target_"].endswith(".NoTracker")


@pytest.mark.parametrize(("name", "group", "option"), options())
def test_every_option_binds(name: str, group: str, option: str) -> None:
    given = [item for item in REQUIRED[name] if not item.startswith(f"{group}")]
    left_open = {"source": ["source.path=photos"]} if _leaves_path_open(group, option) else {}
    compose(name, ROOTS[name], [*given, f"{group}={option}", *left_open.get(group, [])])


@pytest.mark.parametrize(
    ("group", "option"), [(group, name) for group in ("model", "task") for name in GROUPS[group]]
)
def test_every_model_and_task_binds(group: str, option: str) -> None:
    with pytest.raises(ConfigError) as refused:  # The rest of a run is missing.
        compose("train", schema.TrainConfig, [f"{group}={option}"])
    faults = [line for line in str(refused.value).splitlines() if line.startswith(f"  {group}")]
    assert faults == []


@pytest.mark.parametrize("file", sorted(CONF.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_file_says_what_it_is(file: Path) -> None:
    assert first_comment(file) != ""


@pytest.mark.parametrize("option", EXPERIMENTS)
def test_experiments_are_deltas(option: str) -> None:
    lines = GROUPS["exp"][option].read_text().splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ")
    assert len(lines) <= 30


def test_a_typo_in_an_experiment_and_one_in_its_model_are_both_named(tmp_path: Path) -> None:
    (tmp_path / "exp").mkdir()
    lines = GROUPS["exp"]["clip"].read_text()
    (tmp_path / "exp/mine.yaml").write_text(f"{lines}\nscael: {{num_workers: 1}}\n")
    overrides = ["+exp=mine", "model.dropuot=1", "loop.max_epoch=3"]
    with pytest.raises(ConfigError) as refused:
        compose("train", schema.TrainConfig, overrides, [tmp_path])
    message = str(refused.value)
    assert message.startswith("train: 3 problems in the configuration\n")
    assert f"scael (set in {tmp_path / 'exp/mine.yaml'}): no such key; did you mean" in message
    assert "did you mean 'dropout'?" in message
    assert "did you mean 'loop.max_epochs'?" in message


def _leaves_path_open(group: str, option: str) -> bool:
    return "\npath: ???" in GROUPS[group][option].read_text()
