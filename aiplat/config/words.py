"""Keys that a job takes as words: `keys create owner=acme` for `keys action=create owner=acme`."""

from collections.abc import Sequence
from dataclasses import MISSING, field
from typing import Any, get_args

from aiplat.config import sections
from aiplat.config.compose import overrides_of

_WORD, _REST = "word", "rest"


def word(default: Any = MISSING) -> Any:
    """A dataclass field whose value the command line may begin with."""
    return field(default=default, metadata={_WORD: True})


def rest(word: str, name: str) -> Any:
    """A list field for what follows the name of something else, which keeps its own grammar.

    word: what the root's first word then is. name: the field that gets the name.
    """
    return field(default_factory=list, metadata={_REST: (word, name)})


def cut(root: type[Any], arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments that are the root's, and the overrides that the others stand for.

    `submit detach=true train +exp=clip` is `detach=true` and then
    `action=run job=train arguments=['+exp=clip']`.
    """
    found = _field(root, _REST)
    if found is None:
        return list(arguments), []
    field_name, _, (word, name) = found
    known = get_args(_known(root))
    for place, argument in enumerate(arguments):
        if not _is_word(argument) or _is_value(arguments[:place]):
            continue
        own, others = list(arguments[:place]), list(arguments[place + 1 :])
        if argument in known:
            return [argument, *own, *others], []
        given = {_known_name(root): word, name: argument, field_name: others}
        return own, overrides_of(given)
    return list(arguments), []


def spelled_out(root: type[Any], arguments: Sequence[str]) -> list[str]:
    """The arguments as overrides: a first word becomes the value of the root's key for it."""
    found = _field(root, _WORD)
    if found and arguments and _is_word(arguments[0]):
        return [f"{found[0]}={arguments[0]}", *arguments[1:]]
    return list(arguments)


def choices(root: type[Any]) -> str:
    """What the first word may be, for a line of usage; empty where the root takes none."""
    found = _field(root, _WORD)
    if found is None:
        return ""
    return f"[{' | '.join(get_args(found[1])) or found[0]}] "


def _is_word(argument: str) -> bool:
    return "=" not in argument and not argument.startswith(("-", "+", "~"))


def _is_value(before: Sequence[str]) -> bool:
    """Whether an option without its value comes last."""
    return bool(before) and before[-1] in ("--config-dir", "-cd", "--cfg", "-c")


def _known(root: type[Any]) -> Any:
    found = _field(root, _WORD)
    return found[1] if found else None


def _known_name(root: type[Any]) -> str:
    found = _field(root, _WORD)
    return found[0] if found else ""


def _field(root: type[Any], kind: str) -> tuple[str, Any, Any] | None:
    for item, annotation in sections.fields(root):
        if kind in item.metadata:
            return item.name, annotation, item.metadata[kind]
    return None
