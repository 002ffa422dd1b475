"""A key that a job takes as its first word: `keys create owner=acme` for `keys action=create`."""

from collections.abc import Sequence
from dataclasses import MISSING, field
from typing import Any, get_args

from aiplat.config import sections

_WORD = "word"


def word(default: Any = MISSING) -> Any:
    """A dataclass field whose value the command line may begin with."""
    return field(default=default, metadata={_WORD: True})


def spelled_out(root: type[Any], arguments: Sequence[str]) -> list[str]:
    """The arguments as overrides: a first word becomes the value of the root's key for it."""
    found = _field(root)
    if found and arguments and "=" not in arguments[0]:
        return [f"{found[0]}={arguments[0]}", *arguments[1:]]
    return list(arguments)


def choices(root: type[Any]) -> str:
    """What the first word may be, for a line of usage; empty where the root takes none."""
    found = _field(root)
    if found is None:
        return ""
    return f"[{' | '.join(get_args(found[1])) or found[0]}] "


def _field(root: type[Any]) -> tuple[str, Any] | None:
    for item, annotation in sections.fields(root):
        if _WORD in item.metadata:
            return item.name, annotation
    return None
