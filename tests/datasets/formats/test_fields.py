from typing import Any

import pytest

from aiplat.datasets.formats.fields import FieldChoice, Sample, find_fields, kind_of

LONG = "a text with enough words to be no category at all"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2.5, None], "number"),
        (["1", " 2.5 ", "", "n/a", "-3e-2"], "number"),
        (["2020", "2021", "2022"], "number"),
        (["0", "1", "2"], None),
        ([5, 6, 7], "number"),
        (["a", "b", "a"], "category"),
        ([True, False], "category"),
        ([f"name {n}" for n in range(50)], None),
        ([f"name {n % 40}" for n in range(50)], "category"),
        ([LONG, LONG + "!"], "text"),
        ([None, ""], None),
        ([[1], [2]], None),
        ([1, "a"], None),
        ([*range(30, 60), "forty"], "number"),
        (["none"] * 30 + ["some"], "category"),
        ([1.2, 2.2, 3.2], "number"),
        ([b"data"], "image"),
    ],
)
def test_values_decide_the_kind_of_a_column(values: list[Any], kind: str | None) -> None:
    assert kind_of("some", values)[0] == kind


def test_a_lone_long_text_is_the_text_whatever_it_is_called() -> None:
    sample: Sample = {"body": [LONG, LONG], "stars": [3, 5], "label": ["a", "b"]}
    fields = find_fields(FieldChoice(), sample, "a.csv")
    assert fields.names == {"text": "body", "stars": "stars", "label": "label"}


def test_a_name_that_is_usual_for_an_image_is_none_without_images() -> None:
    sample = {"image": ["sunny", "dark"], "text": ["x", "y"], "label": ["a", "b"]}
    fields = find_fields(FieldChoice(), sample, "a.csv")
    assert fields.names == {"text": "text", "image": "image", "label": "label"}
    assert fields.columns[1].kind == "category"


def test_a_field_does_not_replace_the_column_that_another_became() -> None:
    sample: Sample = {"label": ["x", "y"], "body": [LONG, LONG], "text": [1, 5], "kind": [1, 1]}
    fields = find_fields(FieldChoice(label="kind"), sample, "a.csv")
    assert fields.names == {"text": "body", "label": "kind"}
    assert set(fields.left_out) == {"label", "text"}


def test_nothing_is_a_label_where_none_is_wanted() -> None:
    fields = find_fields(FieldChoice(label=None), {"text": ["x"], "label": ["a"]}, "a.csv")
    assert [column.kind for column in fields.columns] == ["text", "category"]
