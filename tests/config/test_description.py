from dataclasses import dataclass
from pathlib import Path

from aiplat.config.description import additions, field_notes, first_comment
from aiplat.config.search import search_path
from tests.config.conftest import write


@dataclass
class Noted:
    """First line: of the class.

    Text that is no note.
    low, high: the bounds,
        both included.
    single: one.
    """

    low: int
    high: int
    single: int


def test_notes_are_read_from_the_docstring() -> None:
    both = "the bounds, both included."
    assert field_notes(Noted) == {"low": both, "high": both, "single": "one."}


def test_the_first_comment_is_a_sentence_without_the_package_line(conf: Path) -> None:
    assert first_comment(conf / "exp/good.yaml") == "What differs, and no more."
    write(conf / "exp/long.yaml", "# It has\n# two lines.\n# This is no part of it.\nname: x")
    assert first_comment(conf / "exp/long.yaml") == "It has two lines."
    assert first_comment(conf / "plain.yaml") == ""


def test_only_files_that_fit_the_job_can_be_added_to_it(conf: Path) -> None:
    folders = search_path([])
    assert list(additions("job", folders)) == ["exp"]
    assert list(additions("job", folders)["exp"]) == ["astray", "good", "typos"]
    assert additions("plain", folders) == {}
