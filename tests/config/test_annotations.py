from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

from aiplat.config.annotations import MisfitError, Other, described, fitted, shown


class Tensor(Other):
    pass


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (True, bool, True),
        ("x", str, "x"),
        ("a/b", Path, Path("a/b")),
        (None, int | None, None),
        (3, float | int, 3),
        (3, float | Literal["auto"], 3.0),
        ("auto", float | Literal["auto"], "auto"),
        ([1, 2], tuple[float, float], (1.0, 2.0)),
        ([1, 2, 3], tuple[int, ...], (1, 2, 3)),
        ([1], Sequence[float], [1.0]),
        ({"a": 1}, Mapping[str, float], {"a": 1.0}),
        ("anything", Any, "anything"),
        ("anything", Tensor, "anything"),
        (0.1, float | Tensor, 0.1),
    ],
)
def test_a_fitting_value_becomes_what_the_annotation_says(
    value: Any, annotation: Any, expected: Any
) -> None:
    result = fitted(value, annotation)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "annotation", "words"),
    [
        ("three", int, "int"),
        (True, int, "int"),
        (2.5, int, "int"),
        (True, float, "float"),
        (1, bool, "bool"),
        (1, str, "str"),
        (None, str, "str"),
        ("two", int | None, "int or null"),
        ("big", Literal["small", "large"], "one of small, large"),
        ("two", int | Literal["auto"], "int or auto"),
        ("abc", list[str], "a list"),
        ([1, "x"], list[int], "a list of int"),
        ([1], tuple[float, float], "a list of 2 values"),
        ({"a": "x"}, dict[str, int], "a mapping to int"),
        ([1], dict[str, int], "a mapping"),
        ("abc", float | Tensor, "float or Tensor"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_was_expected(
    value: Any, annotation: Any, words: str
) -> None:
    with pytest.raises(MisfitError) as refused:
        fitted(value, annotation)
    assert str(refused.value) == words


def test_values_are_shown_as_yaml_writes_them() -> None:
    assert [shown(value) for value in (None, True, "x", 1.5, [1])] == [
        "null", "true", "'x'", "1.5", "[1]",
    ]  # fmt: skip


def test_annotations_are_described_in_words() -> None:
    assert described(bool | Literal["auto"] | None) == "bool or auto or null"
