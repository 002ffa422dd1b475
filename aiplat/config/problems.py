"""What is wrong with a configuration, gathered so that one run names every fault."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One fault: the dotted path it stands at, and what is wrong, expected and to be done."""

    path: str
    message: str


def nearest(name: str, choices: Iterable[str]) -> str | None:
    """The choice most like `name`; None where none is alike."""
    alike = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return alike[0] if alike else None


def suggestion(name: str, choices: Iterable[str]) -> str:
    """How to go on after a wrong `name`: the nearest choice, and all there are."""
    known = sorted(set(choices))
    alike = nearest(name, known)
    hint = f"did you mean {alike!r}? " if alike else ""
    return f"{hint}(there are: {', '.join(known)})" if known else "(there are none)"


def join(path: str, key: str) -> str:
    """The dotted path of `key` below `path`."""
    return f"{path}.{key}" if path else key
