"""One thing that was looked at, or measured, and what to do about it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was found.

    level: `problem` where something will not work, `warning` where it will be slow or may fail
    later. value: what is there. remedy: what to do; empty where nothing is to be done.
    """

    name: str
    value: str
    level: Level = "ok"
    remedy: str = ""


Check = Callable[[], Iterable[Finding]]


def looked_at(name: str, check: Check) -> Iterator[Finding]:
    """The findings of a check; where it fails itself, that is one."""
    try:
        yield from check()
    except Exception as error:
        # A machine can be broken in ways that no check foresees; the others still count.
        told = str(error).strip().splitlines()
        text = f"{type(error).__name__}: {told[0] if told else 'no reason given'}"
        yield Finding(name, text, "problem", "this check could not be made: mend that first")


def level_of(is_problem: bool, is_well: bool) -> Level:
    """A problem is one, even where it is well otherwise."""
    if is_problem:
        return "problem"
    return "ok" if is_well else "warning"


def judged(name: str, value: str, level: Level, remedy: str) -> Finding:
    """A finding whose remedy is only for what is not well."""
    return Finding(name, value, level, remedy if level != "ok" else "")
