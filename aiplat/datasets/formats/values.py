"""One value of a record as a column holds it, or the fault that keeps it from being one."""

import math
import os
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiplat.datasets.formats.fields import MISSING_NUMBERS
from aiplat.datasets.source import Fault, shown

WRONG_TYPE = "wrong type"


class UnfitError(Exception):
    """A value does not fit its column."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(kind, detail)


def convert(kind: str, field: str, value: Any, image_root: str) -> Any:
    """`value` as a column of `kind` holds it, None where it is missing. Raises UnfitError."""
    if value is None or value == "":
        return None
    return _CONVERT[kind](field, value, image_root)


def _text(field: str, value: Any, _image_root: str) -> str:
    if not isinstance(value, str):
        raise _wrong_type(field, "a text", value)
    return _unicode(field, value)


def _number(field: str, value: Any, _image_root: str) -> float | None:
    if isinstance(value, str) and value.strip().lower() in MISSING_NUMBERS:
        return None
    if not isinstance(value, str | int | float | Decimal):
        raise _wrong_type(field, "a number", value)
    try:
        number = float(value)
    except (ValueError, OverflowError) as error:
        raise _wrong_type(field, "a number", value) from error
    if math.isinf(number):
        raise _wrong_type(field, "a finite number", value)
    return None if math.isnan(number) else number


def _name(field: str, value: Any, _image_root: str) -> str | None:
    """A category or a class: a text, or a whole number or truth value as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return str(int(value)) if value.is_integer() else str(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _unicode(field, value)
    raise _wrong_type(field, "a name or a number", value)


def _image(field: str, value: Any, image_root: str) -> dict[str, Any] | None:
    if isinstance(value, str):
        return _image_file(field, value, image_root)
    if isinstance(value, bytes):
        return {"bytes": value, "path": None}
    if isinstance(value, Mapping):
        path = value.get("path")
        if isinstance(value.get("bytes"), bytes):
            return {"bytes": value["bytes"], "path": shown(path) if path else None}
        if isinstance(path, str):
            return _image_file(field, path, image_root)
        if value.get("bytes") is None:
            return None
    raise _wrong_type(field, "an image (a path or the bytes of a file)", value)


def _image_file(field: str, value: str, image_root: str) -> dict[str, Any]:
    root = os.path.normpath(image_root)
    path = os.path.normpath(os.path.join(root, value))  # noqa: PTH118 - Path keeps `..` parts
    if os.path.commonpath([root, path]) != root:
        raise UnfitError(
            "missing file",
            f"field {field!r}: {shown(value)} lies outside {root}; set"
            " source.image_root to the folder that holds all images",
        )
    try:
        data = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnfitError(
            "missing file", f"field {field!r}: {shown(value)} cannot be read in {root}: {reason}"
        ) from error
    return {"bytes": data, "path": shown(Path(path).relative_to(root).as_posix())}


def _unicode(field: str, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UnfitError(
            "wrong encoding", f"field {field!r} is not UTF-8 text: {shown(value)[:40]!r}"
        ) from error
    return value


def _wrong_type(field: str, expected: str, value: Any) -> UnfitError:
    given = repr(value)
    given = given if len(given) <= 60 else f"{given[:57]}..."
    return UnfitError(WRONG_TYPE, f"field {field!r} must be {expected}, got {given}")


_CONVERT: dict[str, Callable[[str, Any, str], Any]] = {
    "text": _text,
    "number": _number,
    "category": _name,
    "label": _name,
    "image": _image,
}
