"""What `--help` of a job says: its purpose, what there is to choose from, and every key."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Any

from aiplat.config import sections, targets, words
from aiplat.config.annotations import described, shown
from aiplat.config.problems import join
from aiplat.config.search import groups, listed, search_path

_WIDTH = 100
_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)")


def description(
    main: Callable[..., Any], name: str, root: type[Any], config_dirs: Sequence[Path] = ()
) -> str:
    """The whole text, ready to print."""
    folders = search_path(config_dirs)
    choices = _choices(name, folders)
    usage = [*_usage(name, words.choices(root)), *_examples(folders[0] / f"{name}.yaml")]
    lines = [*_purpose(main), "", *usage, "", *choices, "Keys:", *_keys(root)]
    return "\n".join(lines) + "\n"


def field_notes(section: type[Any]) -> dict[str, str]:
    """What the docstring of a dataclass says of its fields, in lines `name: what it does`."""
    notes: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(section.__doc__ or "").splitlines():
        entry = _ENTRY.match(line)
        if entry:
            names = entry[1].split(", ")
            notes |= dict.fromkeys(names, entry[2])
        elif line.startswith(" ") and names:
            notes |= {key: f"{notes[key]} {line.strip()}" for key in names}
        else:
            names = []
    return notes


def first_comment(file: Path) -> str:
    """The first sentence of a YAML file's comment, Hydra's package line left out."""
    words: list[str] = []
    for line in file.read_text().splitlines():
        if "@package" in line:
            continue
        if not line.startswith("#") or (words and words[-1].endswith(".")):
            break
        words += line.lstrip("# ").split()
    return " ".join(words)


def additions(name: str, folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """The files that fit the job and are added with a plus (`+exp=clip`), by group and option."""
    own = set(listed(folders[0] / f"{name}.yaml"))
    found: dict[str, dict[str, Path]] = {}
    for group, files in groups(folders).items():
        for option, file in files.items():
            replaced = set(listed(file))
            if group not in own and replaced and replaced <= own and _is_global(file):
                found.setdefault(group, {})[option] = file
    return found


def _is_global(file: Path) -> bool:
    return "@package _global_" in file.read_text()


def _purpose(main: Callable[..., Any]) -> list[str]:
    text = inspect.cleandoc(sys.modules[main.__module__].__doc__ or "")
    return text.splitlines()


def _usage(name: str, first_word: str) -> list[str]:
    command = f"python -m aiplat.jobs.{name}"
    return [
        f"Usage: {command} {first_word}[key=value ...] [group=option ...] [+group=option ...]",
        "  --cfg job         print the whole configuration instead of running",
        "  --config-dir DIR  read further groups and experiments from DIR/<group>/<option>.yaml",
    ]


def _examples(file: Path) -> list[str]:
    """The calls that the first comment of a root file shows."""
    calls = [line.lstrip("# ") for line in file.read_text().splitlines() if line.startswith("#")]
    shown = [f"  {call}" for call in calls if call.startswith("python ")]
    return ["", "Examples:", *shown] if shown else []


def _choices(name: str, folders: Sequence[Path]) -> Iterator[str]:
    for group, files in additions(name, folders).items():
        yield f"Add with +{group}=<name>:"
        for option, file in files.items():
            yield from _entry(option, first_comment(file))
        yield ""
    known = groups(folders)
    for group, default in listed(folders[0] / f"{name}.yaml").items():
        yield f"Choose with {group}=<name>{f' (default: {default})' if default else ''}:"
        for option, file in known.get(group, {}).items():
            yield from _entry(option, first_comment(file))
        yield ""


def _keys(section: type[Any], path: str = "") -> Iterator[str]:
    notes = field_notes(section)
    for item, annotation in sections.fields(section):
        here = join(path, item.name)
        nested = sections.section_type(annotation)
        if nested is not None:
            yield from _keys(nested, here)
            continue
        entry = sections.entry_type(annotation)
        if entry is not None:
            yield from _entry(here, notes.get(item.name, ""))
            yield from _keys(entry, join(here, sections.ENTRY))
            continue
        is_node = targets.PROVIDED in item.metadata
        value = "" if is_node else f" = {_default(item)}  ({described(annotation)})"
        yield from _entry(f"{here}{value}", notes.get(item.name, ""))


def _entry(head: str, note: str) -> Iterator[str]:
    """A line for the head, and below it the note."""
    yield f"  {head}"
    yield from textwrap.wrap(note, _WIDTH, initial_indent="      ", subsequent_indent="      ")


def _default(item: Field[Any]) -> str:
    if item.default is not MISSING:
        return shown(item.default)
    return "required" if item.default_factory is MISSING else shown(item.default_factory())
