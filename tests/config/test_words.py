from dataclasses import dataclass
from typing import Literal

import pytest

from aiplat.config import words
from aiplat.config.words import rest, word


@dataclass
class Doors:
    """Doors that are opened and shut."""

    action: Literal["open", "shut"] = word("shut")
    name: str = "front"


@dataclass
class Named:
    """Cannot do without a name."""

    name: str = word()


@dataclass
class Plain:
    """Takes no word."""

    name: str = "front"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["open", "name=back"], ["action=open", "name=back"]),
        (["name=back"], ["name=back"]),
        (["action=open"], ["action=open"]),
        ([], []),
        # Only the first; what is wrong with others is told as ever.
        (["open", "back"], ["action=open", "back"]),
        (["+exp=clip"], ["+exp=clip"]),
    ],
)
def test_a_first_word_is_the_value_of_its_key(given: list[str], meant: list[str]) -> None:
    assert words.spelled_out(Doors, given) == meant


def test_a_root_without_such_a_key_takes_no_words() -> None:
    assert words.spelled_out(Plain, ["open"]) == ["open"]
    assert words.choices(Plain) == ""


def test_the_words_are_told() -> None:
    assert words.choices(Doors) == "[open | shut] "
    assert words.choices(Named) == "[name] "


@dataclass
class Errand:
    """Runs something else, or tells what runs."""

    action: Literal["run", "list"] = word("list")
    program: str | None = None
    arguments: list[str] = rest(word="run", name="program")
    quiet: bool = False


@pytest.mark.parametrize(
    ("given", "own", "others"),
    [
        (["list", "quiet=true"], ["list", "quiet=true"], []),
        (["quiet=true", "list"], ["list", "quiet=true"], []),
        (["quiet=true"], ["quiet=true"], []),
        (["--config-dir", "mine", "list"], ["list", "--config-dir", "mine"], []),
        (
            ["quiet=true", "train", "+exp=clip", "name=a b", "--config-dir", "mine"],
            ["quiet=true"],
            [
                "action=run",
                "program=train",
                "arguments=['+exp=clip','name=a b','--config-dir',mine]",
            ],
        ),
    ],
)
def test_what_follows_a_name_keeps_its_own_grammar(
    given: list[str], own: list[str], others: list[str]
) -> None:
    assert words.cut(Errand, given) == (own, others)


def test_a_root_without_such_a_key_has_all_arguments_to_itself() -> None:
    assert words.cut(Doors, ["open", "back"]) == (["open", "back"], [])
