"""A composed tree against the dataclasses that describe it: all faults named, or all built.

A dataclass may refuse values in its `__post_init__` by raising ConfigError; the message is reported
at the section's path. Fields made with `targets.node` hold pluggable nodes.
"""

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, Union

from aiplat.config import targets
from aiplat.config.annotations import MisfitError, fitted, shown
from aiplat.config.problems import Problem, join, nearest
from aiplat.errors import ConfigError

T = TypeVar("T")

# In the path of a key, stands for the name of each entry of a mapping.
ENTRY = "<name>"


def check(
    root: type[T], tree: Mapping[str, Any], options: Mapping[str, Sequence[str]] | None = None
) -> tuple[T | None, list[Problem]]:
    """The root built from `tree`, or None and what is wrong with the tree.

    options: the names to choose from for a pluggable node, by its path.
    """
    checker = _Checker([*key_paths(root), *_node_paths(tree)], options or {})
    built = checker.section(root, "", tree)
    return (None if checker.problems else built), checker.problems


def defaults(root: type[Any]) -> dict[str, Any]:
    """What a section's dataclass sets by itself, as a plain tree; required keys are absent."""
    tree: dict[str, Any] = {}
    for item, annotation in fields(root):
        section = section_type(annotation)
        if item.default is not dataclasses.MISSING:
            tree[item.name] = _plain(item.default)
        elif item.default_factory is not dataclasses.MISSING:
            tree[item.name] = _plain(item.default_factory())
        elif section is not None:
            tree[item.name] = defaults(section)
    return tree


def fields(section: type[Any]) -> list[tuple[dataclasses.Field[Any], Any]]:
    """The fields of a dataclass with their annotations resolved."""
    hints = typing.get_type_hints(section)
    return [(item, hints[item.name]) for item in dataclasses.fields(section)]


def section_type(annotation: Any) -> type[Any] | None:
    """The dataclass an annotation names, alone or beside None."""
    if typing.get_origin(annotation) in (Union, types.UnionType):
        members = [item for item in typing.get_args(annotation) if item is not type(None)]
        return section_type(members[0]) if len(members) == 1 else None
    is_section = isinstance(annotation, type) and dataclasses.is_dataclass(annotation)
    return annotation if is_section else None


def entry_type(annotation: Any) -> type[Any] | None:
    """The dataclass of each entry of a mapping by name (`dict[str, Price]`)."""
    arguments = typing.get_args(annotation)
    is_mapping = typing.get_origin(annotation) in (dict, Mapping) and len(arguments) == 2
    return section_type(arguments[1]) if is_mapping else None


def key_paths(section: type[Any], path: str = "") -> Iterator[str]:
    """The dotted path of every key that the dataclasses describe."""
    for item, annotation in fields(section):
        here = join(path, item.name)
        yield here
        if (nested := section_type(annotation)) is not None:
            yield from key_paths(nested, here)
        elif (entry := entry_type(annotation)) is not None:
            yield from key_paths(entry, join(here, ENTRY))


def annotation_at(section: type[Any], path: str) -> Any:
    """The annotation of the key at a dotted path; None where the dataclasses describe none."""
    head, _, rest = path.partition(".")
    for item, annotation in fields(section):
        if item.name == head:
            if not rest:
                return annotation
            if (entry := entry_type(annotation)) is not None:
                _, _, rest = rest.partition(".")
                return annotation_at(entry, rest) if rest else entry
            nested = section_type(annotation)
            return annotation_at(nested, rest) if nested else None
    return None


class _Checker:
    """Walks a tree beside its dataclasses and gathers the problems."""

    def __init__(self, known: list[str], options: Mapping[str, Sequence[str]]) -> None:
        self.known = known
        self.options = options
        self.problems: list[Problem] = []

    def section(self, section: type[T], path: str, tree: Any) -> T | None:
        if not isinstance(tree, Mapping):
            self.problem(path, f"expected a mapping of its keys, got {shown(tree)}")
            return None
        before = len(self.problems)
        described = fields(section)
        names = [item.name for item, _ in described]
        for key in tree:
            if key not in names:
                self.problem(join(path, str(key)), self.unknown(str(key), path, names))
        values = {}
        for item, annotation in described:
            here = join(path, item.name)
            if item.name in tree and tree[item.name] != targets.MISSING:
                values[item.name] = self.value(item, annotation, here, tree[item.name])
            elif item.name in tree or _is_required(item):
                self.problem(here, self.required(item, here))
        return self.construct(section, path, values) if len(self.problems) == before else None

    def value(self, item: dataclasses.Field[Any], annotation: Any, path: str, value: Any) -> Any:
        if value is None and _allows_null(annotation):
            return None
        if targets.PROVIDED in item.metadata:
            if not value:
                self.problem(path, self.required(item, path))
                return None
            self.problems += targets.problems(path, value, item.metadata[targets.PROVIDED])
            return value
        nested = section_type(annotation)
        if nested is not None:
            return self.section(nested, path, value)
        entry = entry_type(annotation)
        return (
            self.plain(annotation, path, value)
            if entry is None
            else self.entries(entry, path, value)
        )

    def plain(self, annotation: Any, path: str, value: Any) -> Any:
        try:
            return fitted(value, annotation)
        except MisfitError as error:
            self.problem(path, f"expected {error}, got {shown(value)}")
            return None

    def entries(self, section: type[T], path: str, tree: Any) -> dict[str, T | None] | None:
        if not isinstance(tree, Mapping):
            self.problem(path, f"expected a mapping of names, got {shown(tree)}")
            return None
        required = [item.name for item, _ in fields(section) if _is_required(item)]
        whole = [
            name
            for name, entry in tree.items()
            if isinstance(entry, Mapping) and all(key in entry for key in required)
        ]
        built = {}
        for name, entry in tree.items():
            # An entry that lacks most of itself most likely is another one, spelled wrong.
            if name not in whole and (alike := nearest(str(name), whole)) is not None:
                message = f"no such entry; did you mean {alike!r}? "
                self.problem(join(path, name), f"{message}(there are: {', '.join(whole)})")
            else:
                built[str(name)] = self.section(section, join(path, str(name)), entry)
        return built

    def construct(self, section: type[T], path: str, values: dict[str, Any]) -> T | None:
        try:
            return section(**values)
        except ConfigError as error:
            self.problem(path, str(error))
            return None

    def unknown(self, key: str, path: str, names: list[str]) -> str:
        alike = nearest(key, names)
        # A key that is right elsewhere most likely only lost its section.
        homes = [known for known in self.known if known.rpartition(".")[2] == key]
        better = [join(path, alike)] if alike else homes
        hint = f"did you mean {' or '.join(map(repr, better))}? " if better else ""
        return f"no such key; {hint}({path or 'the top level'} has: {', '.join(names)})"

    def required(self, item: dataclasses.Field[Any], path: str) -> str:
        if targets.PROVIDED not in item.metadata:
            return f"it is required: set {path}=<value>"
        names = ", ".join(self.options.get(path, []))
        return f"it is required: choose one with {path}=<name> (there are: {names or 'none'})"

    def problem(self, path: str, message: str) -> None:
        self.problems.append(Problem(path, message))


def _is_required(item: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return item.default is missing and item.default_factory is missing


def _allows_null(annotation: Any) -> bool:
    return annotation is Any or type(None) in typing.get_args(annotation)


def _node_paths(tree: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in tree.items():
        here = join(path, str(key))
        if isinstance(value, Mapping):
            if targets.is_node(value):
                yield from (join(here, str(name)) for name in value if name != targets.TARGET)
            yield from _node_paths(value, here)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value
