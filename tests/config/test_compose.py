import math
from pathlib import Path
from typing import Any

import pytest

from aiplat.config.compose import compose, overrides_of
from aiplat.errors import ConfigError
from tests.config.parts import OtherRoot, Root

pytestmark = pytest.mark.usefixtures("conf")


def fault(*overrides: str, config_dirs: tuple[Path, ...] = ()) -> str:
    with pytest.raises(ConfigError) as refused:
        compose("job", Root, overrides, config_dirs)
    return str(refused.value)


def test_defaults_then_files_then_the_command_line_decide() -> None:
    config = compose("job", Root, ["+exp=good", "loop.clip_norm=1", "model.dropout=0.5"])
    assert (config.name, config.data.name, config.data.batch_size) == ("good", "shapes", 256)
    assert (config.loop.max_epochs, config.loop.clip_norm) == (3, 1.0)
    assert config.model["dropout"] == 0.5
    assert config.model["tower"] == {"_target_": "tests.config.parts.Tower", "width": 8}


def test_null_for_a_group_takes_away_what_the_files_choose() -> None:
    assert compose("job", Root, ["+exp=good", "schedule=null"]).schedule is None
    assert "it is required: choose one with model=<name>" in fault("+exp=good", "model=null")


def test_a_typo_on_the_command_line_names_the_nearest_key() -> None:
    message = fault("+exp=good", "loop.max_epoch=3")
    assert "loop.max_epoch (loop.max_epoch=3 on the command line): no such key" in message
    assert "did you mean 'loop.max_epochs'?" in message


def test_typos_in_an_experiment_are_all_named_with_their_file() -> None:
    message = fault("+exp=typos", "sede=1", "seed=one")
    assert message.startswith("job: 4 problems in the configuration\n")
    assert "loop.max_epoch (3 in conf/exp/typos.yaml): no such key" in message
    assert (
        "model.tower.widht (4 in conf/exp/typos.yaml): tests.config.parts.Tower has no" in message
    )
    assert "did you mean 'width'?" in message
    assert "sede (sede=1 on the command line): no such key; did you mean 'seed'?" in message
    assert "seed (seed=one on the command line): expected int, got 'one'" in message


def test_what_is_missing_is_named_with_what_there_is_to_choose() -> None:
    message = fault()
    assert "name: it is required: set name=<value>" in message
    assert "model: it is required: choose one with model=<name> (there are: small)" in message


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("+exp=goood", "exp=goood (+exp=goood on the command line): there is no exp/goood.yaml"),
        ("+exp=goood", "did you mean 'good'?"),
        ("model=big", "model=big (model=big on the command line): there is no model/big.yaml"),
        ("+exp=astray", "model=smal (in exp/astray.yaml): there is no model/smal.yaml"),
        ("+epx=good", "epx (+epx=good on the command line): no such key or group"),
        ("+epx=good", "did you mean '+exp=good'?"),
        ("exp=good", "To append to your default list use +exp=good"),
        ("+exp=broken", "exp/broken.yaml"),
        ("name", "expected key=value, group=option or +exp=name"),
        ("name=a,b", "name (name=a,b on the command line): it has several values, expected one"),
        (
            "name=${nme}",
            "name (name=${nme} on the command line): Interpolation key 'nme' not found",
        ),
        ("~loop.max_epoch", "no such key, nothing to remove"),
        ("seed.more=1", "seed (seed.more=1 on the command line): expected int"),
    ],
)
def test_what_cannot_be_composed_says_what_to_mend(override: str, words: str) -> None:
    assert words in fault(override)


def test_one_fault_is_named_once() -> None:
    assert fault("+exp=good", "name=a,b").count("  name ") == 1


def test_text_that_reads_as_a_number_stays_text_where_text_is_wanted() -> None:
    assert compose("job", Root, ["+exp=good", "name=007e2"]).name == "007e2"
    assert compose("job", Root, ["+exp=good", "name=true"]).name == "true"


def test_a_value_needs_no_plus_and_may_have_one() -> None:
    for override in ("loop.clip_norm=2", "+loop.clip_norm=2", "++loop.clip_norm=2"):
        assert compose("job", Root, ["+exp=good", override]).loop.clip_norm == 2.0


def test_removing_a_value_returns_to_the_default() -> None:
    assert compose("job", Root, ["+exp=good", "~loop.max_epochs"]).loop.max_epochs == 10


def test_references_between_keys_are_resolved_defaults_included() -> None:
    assert compose("job", Root, ["+exp=good", "seed=${data.batch_size}"]).seed == 256


def test_a_plain_key_may_have_the_name_of_a_group() -> None:
    assert compose("plain", OtherRoot, ["model=clip@champion"]).model == "clip@champion"


def test_a_folder_of_the_user_adds_experiments(tmp_path: Path) -> None:
    mine = tmp_path / "my 'own' conf"
    (mine / "exp").mkdir(parents=True)
    file = mine / "exp/mine.yaml"
    file.write_text("# @package _global_\ndefaults: [override /model: small]\nname: mine\n")
    assert compose("job", Root, ["+exp=mine"], [mine]).name == "mine"
    file.write_text("# @package _global_\ndefaults: [override /model: small]\nnaem: mine\n")
    assert f"naem ('mine' in {file}): no such key; did you mean 'name'?" in fault(
        "+exp=mine", config_dirs=(mine,)
    )


def test_a_folder_of_the_user_may_not_hide_behind_ours(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    (mine / "exp").mkdir(parents=True)
    (mine / "exp/good.yaml").write_text("name: mine\n")
    assert "rename it" in fault("+exp=good", config_dirs=(mine,))
    assert "there is no such folder" in fault(config_dirs=(tmp_path / "nowhere",))


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "a-b",
        "two words",
        " padded ",
        "a,b",
        "key=value",
        "key: value",
        "[x]",
        "{a: b}",
        "(1, 2)",
        "it's",
        'the "best"',
        "#3",
        "",
        "null",
        "True",
        "inf",
        "1e-05",
        "007",
        "größe",
        "a/b/c.yaml",
        "C:\\data\\new",
        r"\d+\.png",
        "ends in \\",
        "it\\'s",
        "two\nlines",
    ],
)
def test_a_text_as_an_override_composes_to_itself(text: str) -> None:
    values = {"name": text, "tags": [text, "b"]}
    config = compose("job", Root, ["+exp=good", *overrides_of(values)])
    assert (config.name, config.tags) == (text, [text, "b"])


@pytest.mark.parametrize(
    "value",
    [
        3,
        -3,
        0.1,
        1e-05,
        -1.5e-300,
        1e22,
        math.inf,
        None,
        True,
        False,
        [],
        {},
        [1, [2.5, "a,b"], None, True],
        {"_target_": "tests.config.parts.Tower", "width": 8},
        {"a": {"b": ["x y", {"c": None}]}, "d-e": "it's", "f.g": 1e-05},
    ],
)
def test_a_value_as_an_override_composes_to_itself(value: Any) -> None:
    target = {"model._target_": "tests.config.parts.anything", "model.first": 1}
    model = compose("job", Root, ["name=x", *overrides_of({**target, "model.other": value})]).model
    assert model["other"] == value
    assert type(model["other"]) is type(value)


def test_an_override_of_a_group_picks_its_option() -> None:
    values = {"model": "small", "schedule": None, "loop.clip_norm": 1e-05}
    overrides = overrides_of(values)
    assert overrides == ["model=small", "schedule=null", "loop.clip_norm=1e-05"]
    config = compose("job", Root, ["name=x", *overrides])
    assert (config.model["tower"]["width"], config.schedule) == (8, None)
    assert config.loop.clip_norm == 1e-05
