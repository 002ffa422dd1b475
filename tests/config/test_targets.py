from pathlib import Path
from typing import Any

import pytest

from aiplat.config import targets
from aiplat.errors import ConfigError
from tests.config import parts

HERE = "tests.config.parts"
TOWER = {"_target_": f"{HERE}.Tower", "width": 8}
PROVIDED = ("num_classes", "assets")


def faults(node: Any, provided: tuple[str, ...] = PROVIDED) -> dict[str, str]:
    return {problem.path: problem.message for problem in targets.problems("model", node, provided)}


def model(**changes: Any) -> dict[str, Any]:
    return {"_target_": f"{HERE}.Model", "tower": TOWER, **changes}


def test_a_node_is_built_from_its_values_and_what_is_provided() -> None:
    built = targets.build(model(dropout=1), num_classes=3, unused="x")
    assert isinstance(built, parts.Model)
    assert (built.num_classes, built.tower.width, built.dropout) == (3, 8, 1.0)


def test_nested_nodes_are_built_wherever_they_stand_and_are_provided_for_too() -> None:
    built = targets.build(
        model(others=[TOWER, TOWER], named={"left": TOWER}), num_classes=3, assets=Path("a")
    )
    assert [tower.assets for tower in (built.tower, *built.others, built.named["left"])] == [
        Path("a")
    ] * 4


def test_a_value_of_the_node_wins_over_what_is_provided_and_null_does_not() -> None:
    assert targets.build(model(num_classes=7), num_classes=3).num_classes == 7
    assert targets.build(model(num_classes=None), num_classes=3).num_classes == 3


def test_values_become_what_the_annotation_says() -> None:
    assert targets.build(model(sizes=[1, 2]), num_classes=3).sizes == (1, 2)


def test_a_good_node_has_no_problems() -> None:
    assert faults(model(dropout=0.5, kind="large", others=[TOWER])) == {}


def test_every_problem_is_found_at_once_in_nested_nodes_too() -> None:
    node = model(
        dropuot=0.5,
        kind="big",
        sizes=["a"],
        tower={"_target_": f"{HERE}.Tower", "widht": 8},
        others=[TOWER, {"_target_": f"{HERE}.Towr"}],
    )
    found = faults(node)
    assert sorted(found) == [
        "model.dropuot",
        "model.kind",
        "model.others.1._target_",
        "model.sizes",
        "model.tower.widht",
        "model.tower.width",
    ]
    assert "did you mean 'dropout'?" in found["model.dropuot"]
    assert "num_classes, tower, dropout" in found["model.dropuot"]
    assert found["model.kind"] == f"{HERE}.Model expects one of small, large, got 'big'"
    assert "did you mean 'Tower'?" in found["model.others.1._target_"]
    assert found["model.tower.width"] == f"{HERE}.Tower needs it: set a value"


def test_what_the_platform_provides_is_required_of_nobody_else() -> None:
    assert list(faults(model(), provided=())) == ["model.num_classes"]


def test_null_is_no_excuse_for_a_key_that_the_target_does_not_have() -> None:
    node = {**TOWER, "num_classes": None}
    assert list(faults(node)) == ["model.num_classes"]


def test_null_is_refused_where_the_target_wants_a_value() -> None:
    assert "expects float, got null" in faults(model(dropout=None))["model.dropout"]
    assert faults(model(named=None)) == {}


def test_a_target_that_takes_any_keyword_takes_any_key() -> None:
    assert faults({"_target_": f"{HERE}.anything", "first": 1, "second": 2}) == {}


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ("clip", "expected a mapping with a _target_, got 'clip'"),
        ({"width": 1}, "expected an import path like 'package.module.Name', got null"),
        ({"_target_": f"{HERE}.NOT_CALLABLE"}, "expected a class or a function"),
    ],
)
def test_what_is_no_node_is_said_to_be_none(node: Any, words: str) -> None:
    assert words in faults(node)["model._target_"]


def test_building_a_bad_node_names_what_does_not_fit() -> None:
    with pytest.raises(
        ConfigError, match=r"cannot build .*Model: dropuot: .*did you mean 'dropout'"
    ):
        targets.build(model(dropuot=1), num_classes=3)


def test_what_a_constructor_raises_is_left_as_it_is() -> None:
    with pytest.raises(ConfigError, match="size is 3, and no size would do"):
        targets.build({"_target_": f"{HERE}.fails", "size": 3})
