import dataclasses
from typing import Any

from aiplat.config import sections
from tests.config.parts import LoopSection, Root

TOWER = {"_target_": "tests.config.parts.Tower", "width": 8}
GOOD: dict[str, Any] = {
    "name": "run",
    "data": {"name": "shapes"},
    "model": {"_target_": "tests.config.parts.Model", "tower": TOWER},
}


def faults(**changes: Any) -> dict[str, str]:
    _, problems = sections.check(Root, {**GOOD, **changes}, {"model": ["big", "small"]})
    return {problem.path: problem.message for problem in problems}


def test_a_good_tree_becomes_its_dataclasses() -> None:
    root, problems = sections.check(Root, {**GOOD, "extra": {"clip_norm": 1}})
    assert problems == []
    assert root is not None
    assert (root.data.name, root.data.batch_size, root.schedule) == ("shapes", 256, None)
    assert root.extra == LoopSection(clip_norm=1.0)
    assert root.model == GOOD["model"]


def test_all_problems_are_found_at_once() -> None:
    found = faults(
        sede=1,
        data={"batch_size": "many"},
        loop={"max_epoch": 3, "precision": "fp8"},
        model={"_target_": "tests.config.parts.Model", "tower": TOWER, "dropuot": 1},
    )
    assert sorted(found) == [
        "data.batch_size", "data.name", "loop.max_epoch", "loop.precision", "model.dropuot", "sede",
    ]  # fmt: skip
    assert found["sede"].startswith("no such key; did you mean 'seed'? (the top level has: name,")
    assert "did you mean 'loop.max_epochs'?" in found["loop.max_epoch"]
    assert found["loop.precision"] == "expected one of fp32, bf16, got 'fp8'"
    assert found["data.batch_size"] == "expected int, got 'many'"
    assert found["data.name"] == "it is required: set data.name=<value>"


def test_a_key_that_lost_its_section_is_pointed_home() -> None:
    assert "did you mean 'data.batch_size'?" in faults(batch_size=3)["batch_size"]
    assert "did you mean 'model.tower.width'?" in faults(width=3)["width"]


def test_what_a_section_itself_refuses_is_reported_at_its_path() -> None:
    found = faults(loop={"max_epochs": 0}, extra={"max_epochs": -1})
    assert found == {
        "loop": "max_epochs is 0, expected at least 1",
        "extra": "max_epochs is -1, expected at least 1",
    }


def test_a_missing_node_names_what_there_is_to_choose() -> None:
    expected = "it is required: choose one with model=<name> (there are: big, small)"
    assert faults(model=None)["model"] == expected
    assert faults(model={})["model"] == expected


def test_a_section_must_be_a_mapping() -> None:
    assert faults(loop=3)["loop"] == "expected a mapping of its keys, got 3"
    assert faults(loop=None)["loop"] == "expected a mapping of its keys, got null"


def test_a_mark_for_a_missing_value_counts_as_missing() -> None:
    assert list(faults(data={"name": "???"})) == ["data.name"]


def test_defaults_are_those_of_the_dataclasses_without_the_required_ones() -> None:
    assert sections.defaults(Root) == {
        "seed": 0,
        "tags": [],
        "data": {"batch_size": 256},
        "loop": {"max_epochs": 10, "precision": "fp32", "clip_norm": None},
        "extra": None,
        "schedule": None,
    }


def test_annotations_are_found_by_dotted_path() -> None:
    assert sections.annotation_at(Root, "loop.max_epochs") is int
    assert sections.annotation_at(Root, "extra.max_epochs") is int
    assert sections.annotation_at(Root, "loop.max_epoch") is None
    assert sections.annotation_at(Root, "name.more") is None


@dataclasses.dataclass
class Item:
    size: int
    colour: str = "red"


@dataclasses.dataclass
class Shelf:
    items: dict[str, Item]


def shelf_faults(**items: Any) -> dict[str, str]:
    _, problems = sections.check(Shelf, {"items": items})
    return {problem.path: problem.message for problem in problems}


def test_entries_of_a_mapping_are_built_and_checked_as_sections() -> None:
    shelf, problems = sections.check(Shelf, {"items": {"box": {"size": 3}}})
    assert problems == []
    assert shelf == Shelf({"box": Item(3)})
    found = shelf_faults(box={"size": "large", "color": "blue"}, jar={}, cup=7)
    assert found["items.box.size"] == "expected int, got 'large'"
    assert "did you mean 'items.box.colour'?" in found["items.box.color"]
    assert found["items.jar.size"] == "it is required: set items.jar.size=<value>"
    assert found["items.cup"] == "expected a mapping of its keys, got 7"


def test_an_entry_that_lacks_what_it_needs_is_taken_for_another_spelled_wrong() -> None:
    found = shelf_faults(**{"gpu-small": {"size": 1}, "gpu-smal": {"colour": "blue"}})
    assert found == {
        "items.gpu-smal": "no such entry; did you mean 'gpu-small'? (there are: gpu-small)"
    }


def test_keys_of_entries_are_described_below_their_name() -> None:
    assert list(sections.key_paths(Shelf)) == [
        "items",
        "items.<name>.size",
        "items.<name>.colour",
    ]
    assert sections.annotation_at(Shelf, "items.box.size") is int
    assert sections.annotation_at(Shelf, "items.box") is Item
