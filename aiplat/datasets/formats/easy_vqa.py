"""easy-VQA: small pictures of one coloured shape each, with questions and one-word answers."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

from aiplat.datasets.formats.installed import package
from aiplat.datasets.source import (
    WARNING,
    Block,
    Problem,
    RawRow,
    Rows,
    assemble,
)
from aiplat.datasets.versions import Column
from aiplat.errors import ConfigError

SHAPES = ("circle", "rectangle", "triangle")
_BLOCK_ROWS = 1000
_IMAGE, _TEXT, _LABEL = Column("image", "image"), Column("text", "text"), Column("label", "label")
_VIEWS = {
    "questions": (_IMAGE, _TEXT, _LABEL),
    "shapes": (_IMAGE, _LABEL),
    "captions": (_IMAGE, _TEXT, _LABEL),
}


@dataclass(frozen=True)
class _Row:
    origin: str
    path: str
    text: str
    label: str


@dataclass(frozen=True)
class Pictures:
    """Some rows of one split; the images are read from the package when the rows are."""

    rows: tuple[_Row, ...]
    split: str
    columns: tuple[Column, ...]

    def read(self, rows: Sequence[int] | None = None) -> Rows:
        """The rows asked for; see Block."""
        chosen = self.rows if rows is None else [self.rows[row] for row in rows]
        images = {row.path: Path(row.path).read_bytes() for row in chosen}
        return assemble(self.columns, (self._raw(row, images[row.path]) for row in chosen))

    def _raw(self, row: _Row, image: bytes) -> RawRow:
        path = f"{self.split}/{Path(row.path).name}"
        values = {"image": {"bytes": image, "path": path}, "text": row.text, "label": row.label}
        return RawRow(row.origin, values, self.split)


@dataclass(frozen=True)
class _Split:
    """One half of the package: (question, answer, picture) triples, and each picture's file."""

    questions: tuple[tuple[str, str, int], ...]
    paths: dict[int, str]


@dataclass
class EasyVqa:
    """4,000 pictures with 38,575 questions to train on, 1,000 with 9,673 to test on.

    view: `questions` (image, question -> answer), `shapes` (image -> shape) or `captions` (image,
        "a blue triangle" -> the caption). The last two use what the answers to a picture's
        questions tell of it, and leave out the pictures that the answers leave open.
    """

    view: Literal["questions", "shapes", "captions"] = "questions"
    columns: tuple[Column, ...] = field(init=False)
    labels: tuple[str, ...] | None = field(init=False)

    def __post_init__(self) -> None:
        if self.view not in _VIEWS:
            raise ConfigError(f"source.view must be one of {', '.join(_VIEWS)}, got {self.view!r}")
        self.columns = _VIEWS[self.view]
        answers = tuple(sorted(package("easy_vqa").get_answers()))
        captions = tuple(_caption(color, shape) for color in _colors(answers) for shape in SHAPES)
        self.labels = {"questions": answers, "shapes": SHAPES, "captions": captions}[self.view]

    def blocks(self) -> list[Block]:
        """The rows of train and test, in the order of the package; see Source."""
        return [
            Pictures(rows[start : start + _BLOCK_ROWS], name, self.columns)
            for name, rows in self._rows.items()
            for start in range(0, len(rows), _BLOCK_ROWS)
        ]

    def findings(self) -> list[Problem]:
        """How many pictures a view leaves out; see Source."""
        if self.view == "questions":
            return []
        problems = []
        for name, split in self._splits.items():
            left_out = len(split.paths) - len(self._rows[name])
            detail = f"{left_out} of {len(split.paths)} pictures: no answer decides what they show"
            problems.append(Problem("picture left out", f"easy_vqa/{name}", detail, WARNING))
        return problems

    @cached_property
    def _splits(self) -> dict[str, _Split]:
        easy_vqa = package("easy_vqa")
        train = zip(*easy_vqa.get_train_questions(), strict=True)
        test = zip(*easy_vqa.get_test_questions(), strict=True)
        return {
            "train": _Split(tuple(train), easy_vqa.get_train_image_paths()),
            "test": _Split(tuple(test), easy_vqa.get_test_image_paths()),
        }

    @cached_property
    def _rows(self) -> dict[str, tuple[_Row, ...]]:
        make = _questions if self.view == "questions" else self._pictures
        return {name: make(name, split) for name, split in self._splits.items()}

    def _pictures(self, name: str, split: _Split) -> tuple[_Row, ...]:
        shapes = _decided(split.questions, SHAPES)
        colors = _decided(split.questions, _colors(package("easy_vqa").get_answers()))
        rows = []
        for picture in sorted(split.paths):
            shape, color = shapes.get(picture), colors.get(picture)
            if shape is None or (self.view == "captions" and color is None):
                continue
            text = _caption(color or "", shape)
            label = shape if self.view == "shapes" else text
            origin = f"easy_vqa/{name}/{picture}.png"
            rows.append(_Row(origin, split.paths[picture], text, label))
        return tuple(rows)


def _questions(name: str, split: _Split) -> tuple[_Row, ...]:
    return tuple(
        _Row(f"easy_vqa/{name}/questions.json:{row}", split.paths[picture], text, answer)
        for row, (text, answer, picture) in enumerate(split.questions, 1)
    )


def _colors(answers: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(answers) - {*SHAPES, "yes", "no"}))


def _caption(color: str, shape: str) -> str:
    return f"a {color} {shape}"


def _decided(questions: Iterable[tuple[str, str, int]], values: Sequence[str]) -> dict[int, str]:
    """For each picture the one of `values` that its answers leave possible, if it is only one."""
    possible: dict[int, set[str]] = {}
    for text, answer, picture in questions:
        words = set(re.findall(r"[a-z]+", text))
        left = possible.setdefault(picture, set(values))
        if answer in values:
            left &= {answer}
        named = words & set(values)
        if not named:
            continue
        # "is no circle present?" - "no" says that there is one, as do the other questions that
        # name a circle ("what color is the circle?").
        denies = answer in ("yes", "no") and (answer == "yes") == bool(words & {"no", "not"})
        left -= named if denies else set(values) - named
    return {picture: left.pop() for picture, left in possible.items() if len(left) == 1}
