"""Which field of a record feeds which column: as the user says, else by name and values."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from aiplat.datasets.source import IMAGE_SUFFIXES, SPLIT_WORDS
from aiplat.datasets.versions import ROW_ID, Column
from aiplat.errors import ConfigError, DataError

AUTO = "auto"
# What people call the fields, the likeliest first.
IMAGE_NAMES = ("image", "image_path", "img", "file_name", "filename", "file", "path")
TEXT_NAMES = ("text", "caption", "question", "sentence", "review", "content", "prompt", "comment")
LABEL_NAMES = ("label", "class", "target", "answer", "y")
SPLIT_NAMES = ("split",)
KINDS = ("image", "text", "number", "category")
MISSING_NUMBERS = frozenset({"", "na", "n/a", "nan", "null", "none"})

_MOST_CATEGORIES = 100
_FEW_ROWS = 20
_LONG_TEXT = 32
_SHARE = 0.8
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*")

# Some records to decide by: the values of each field, None where a record lacks it.
Sample = Mapping[str, Sequence[Any]]


@dataclass(kw_only=True)
class FieldChoice:
    """Which fields of the records to use.

    image, text, label, split: a field's name; `auto`: found by its usual names and its values;
        null: none. They become the columns `image`, `text` and `label`. Several texts keep the
        names of their fields.
    fields: further columns: a kind for each field (image, text, number, category; null leaves it
        out). `auto`: every field left over, by the type of its values, unless there are images.
    """

    image: str | None = AUTO
    text: str | tuple[str, ...] | None = AUTO
    label: str | None = AUTO
    split: str | None = AUTO
    fields: str | dict[str, str | None] | None = AUTO

    def __post_init__(self) -> None:
        if isinstance(self.fields, str) and self.fields != AUTO:
            raise ConfigError(
                f"source.fields must be auto, null or a kind for each field, got {self.fields!r}"
            )
        chosen = self.fields if isinstance(self.fields, dict) else {}
        for name, kind in chosen.items():
            if kind is not None and kind not in KINDS:
                listed = ", ".join(KINDS)
                raise ConfigError(
                    f"source.fields.{name} must be one of {listed} or null, got {kind!r}"
                )


@dataclass(frozen=True)
class Fields:
    """The columns of a dataset and the field each is read from.

    split: the field that names the split, if any.
    left_out: fields that nobody asked for or excluded, and why they were left out.
    """

    columns: tuple[Column, ...]
    names: dict[str, str]
    split: str | None = None
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def used(self) -> list[str]:
        """The fields that are read."""
        return [*self.names.values(), *([self.split] if self.split else [])]


def find_fields(choice: FieldChoice, sample: Sample, where: str) -> Fields:
    """Decide by the user's choice and some records; `where` names their file in messages."""
    search = _Search(choice, sample, where)
    image = search.role("image", choice.image, IMAGE_NAMES, _are_images)
    label = search.role("label", choice.label, LABEL_NAMES, _are_labels)
    split = search.role("split", choice.split, SPLIT_NAMES, _are_splits)
    texts = search.texts()
    if choice.label == AUTO and label is None:
        raise DataError(
            f"{where} has no field with a usual name of a label ({', '.join(LABEL_NAMES)}; it has:"
            f" {search.listed}); set source.label to one of its fields, or to null for none"
        )
    found = {"image": ("image", image)} if image else {}
    found |= {"text" if len(texts) == 1 else name: ("text", name) for name in texts}
    further, left_out = search.further({image, label, split, *texts})
    found |= {"label": ("label", label)} if label else {}
    for name, kind in further.items():
        if name in found:
            left_out[name] = f"field {found[name][1]!r} became the column of this name"
        else:
            found[name] = (kind, name)
    if label:
        found["label"] = found.pop("label")  # Labels stand last.
    if not set(found) - {"label"}:
        raise DataError(
            f"{where} has no field to learn from (it has: {search.listed}); set source.image,"
            " source.text or source.fields"
        )
    return Fields(
        columns=tuple(Column(name, kind) for name, (kind, _) in found.items()),
        names={name: source for name, (_, source) in found.items()},
        split=split,
        left_out=left_out,
    )


class _Search:
    """The fields of one sample, and the choice that is made among them."""

    def __init__(self, choice: FieldChoice, sample: Sample, where: str) -> None:
        self.sample = sample
        self.where = where
        self.text = choice.text
        self.listed = ", ".join(sample) or "nothing"
        chosen = choice.fields if isinstance(choice.fields, dict) else {}
        self.kinds = {self._there(name, f"fields.{name}"): kind for name, kind in chosen.items()}
        self.takes_rest = choice.fields == AUTO
        texts = choice.text if isinstance(choice.text, tuple) else (choice.text,)
        self.named = {*self.kinds, *texts, choice.image, choice.label, choice.split}

    def role(
        self,
        role: str,
        wanted: str | None,
        usual: Sequence[str],
        fits: Callable[[Sequence[Any]], bool],
    ) -> str | None:
        if wanted != AUTO:
            return None if wanted is None else self._there(wanted, role)
        by_name = {name.lower(): name for name in self.sample if name not in self.named}
        for name in usual:
            if name in by_name and fits(_known(self.sample[by_name[name]])):
                return by_name[name]
        return None

    def texts(self) -> list[str]:
        if not isinstance(self.text, str):
            return [self._there(name, "text") for name in self.text or ()]
        found = self.role("text", self.text, TEXT_NAMES, _are_strings)
        if found:
            return [found]
        long = [
            name
            for name, values in self.sample.items()
            if name not in self.named and _are_long_texts(_known(values))
        ]
        return long if len(long) == 1 else []

    def further(self, taken: set[str | None]) -> tuple[dict[str, str], dict[str, str]]:
        kinds = {name: kind for name, kind in self.kinds.items() if kind is not None}
        rest = [name for name in self.sample if name not in taken and name not in self.kinds]
        has_image = any(_are_images(_known(self.sample[name])) for name in taken if name)
        left_out = {}
        for name in rest:
            kind, reason = kind_of(name, self.sample[name])
            if not self.takes_rest:
                left_out[name] = "it was not asked for"
            elif has_image:
                left_out[name] = "with images only fields that are asked for are used"
            elif kind is None:
                left_out[name] = reason
            else:
                kinds[name] = kind
        in_order = {name: kinds[name] for name in self.sample if name in kinds}
        return in_order, left_out

    def _there(self, name: str, key: str) -> str:
        if name not in self.sample:
            raise DataError(
                f"{self.where} has no field {name!r} (it has: {self.listed}); set source.{key}"
            )
        return name


def kind_of(name: str, values: Sequence[Any]) -> tuple[str | None, str]:
    """The kind of column that values make, or None and why they make none."""
    known = _known(values)
    if name == ROW_ID:
        return None, "the name is ours"
    if not known:
        return None, "it has no values"
    if len(known) > 2 and _count_rows(known):
        return None, "its values just count the rows"
    for kind, fits in (("number", _are_numbers), ("category", _are_bools), ("image", _are_blobs)):
        if fits(known):
            return kind, ""
    return _kind_of_strings(known)


def _kind_of_strings(known: Sequence[Any]) -> tuple[str | None, str]:
    if not _are_strings(known):
        return None, f"values of type {type(known[0]).__name__} make no column"
    if _are_long_texts(known):
        return "text", ""
    distinct = len(set(known))
    if distinct <= _MOST_CATEGORIES and (distinct < len(known) or len(known) <= _FEW_ROWS):
        return "category", ""
    return None, f"{distinct} different short texts are neither a category nor a text"


def _known(values: Iterable[Any]) -> list[Any]:
    return [value for value in values if value is not None and value != ""]


def _most(known: Sequence[Any], fits: Callable[[Any], bool]) -> bool:
    """A few bad values are faults of their rows, not another kind of column."""
    return bool(known) and sum(map(fits, known)) >= _SHARE * len(known)


def _are_numbers(known: Sequence[Any]) -> bool:
    return _most([value for value in known if not _is_missing_number(value)], _is_number)


def _are_bools(known: Sequence[Any]) -> bool:
    return _most(known, lambda value: isinstance(value, bool))


def _are_blobs(known: Sequence[Any]) -> bool:
    return _most(known, lambda value: _is_image(value) and not isinstance(value, str))


def _are_images(known: Sequence[Any]) -> bool:
    return _most(known, _is_image)


def _are_strings(known: Sequence[Any]) -> bool:
    return _most(known, lambda value: isinstance(value, str))


def _are_labels(known: Sequence[Any]) -> bool:
    return _most(known, lambda value: isinstance(value, str | int | float))


def _are_splits(known: Sequence[Any]) -> bool:
    return _most(known, lambda value: isinstance(value, str) and value.lower() in SPLIT_WORDS)


def _are_long_texts(known: Sequence[Any]) -> bool:
    strings = [value for value in known if isinstance(value, str)]
    if not _are_strings(known):
        return False
    mean = sum(map(len, strings)) / len(strings)
    return mean >= _LONG_TEXT and any(" " in value for value in strings)


def _count_rows(known: Sequence[Any]) -> bool:
    if not all(map(_is_number, known)):
        return False
    numbers = [float(value) for value in known]
    return numbers[0] in (0, 1) and all(b - a == 1 for a, b in pairwise(numbers))


def _is_missing_number(value: Any) -> bool:
    return isinstance(value, str) and value.strip().lower() in MISSING_NUMBERS


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        # Cells of a CSV file are strings whatever they hold.
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool)


def _is_image(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "bytes" in value
    if isinstance(value, str):
        return PurePath(value).suffix.lower() in IMAGE_SUFFIXES
    return isinstance(value, bytes)
