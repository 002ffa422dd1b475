"""Whether a value out of YAML fits a type annotation, and the value as the annotation wants it.

Knows the types YAML can express and containers of them; any other annotation accepts anything.
"""

import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union

_LISTS = (list, tuple, set, frozenset, Sequence, Iterable, Collection)
_MAPPINGS = (dict, Mapping)


class MisfitError(Exception):
    """The value is none of those the annotation allows; the message says what was expected."""


class Other:
    """Stands for a class that no plain YAML value can be an instance of."""


def fitted(value: Any, annotation: Any) -> Any:
    """The value as the annotation wants it (a float for an int, a tuple for a list).

    Raises MisfitError where the annotation does not allow it.
    """
    origin = typing.get_origin(annotation)
    if origin in (Union, types.UnionType):
        return _fitted_union(value, annotation)
    if origin is Literal:
        return _fitted_literal(value, annotation)
    container = origin or annotation
    if container in _LISTS:
        return _fitted_list(value, annotation, container)
    if container in _MAPPINGS:
        return _fitted_mapping(value, annotation)
    return _fitted_scalar(value, annotation)


def described(annotation: Any) -> str:
    """The annotation in the words of a message."""
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " or ".join(described(argument) for argument in arguments)
    if origin is Literal:
        return (
            "one of " + ", ".join(map(str, arguments)) if len(arguments) > 1 else str(arguments[0])
        )
    if annotation in (None, types.NoneType):
        return "null"
    if (origin or annotation) in _LISTS:
        return "a list"
    if (origin or annotation) in _MAPPINGS:
        return "a mapping"
    return getattr(annotation, "__name__", str(annotation))


def shown(value: Any) -> str:
    """A value as YAML writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return repr(value) if isinstance(value, str) else str(value)


def _fitted_scalar(value: Any, annotation: Any) -> Any:
    if annotation in (None, types.NoneType):
        fits = value is None
    elif annotation is bool or annotation is str:
        fits = isinstance(value, annotation)
    elif annotation is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    elif annotation is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        value = float(value) if fits else value
    elif annotation is Path:
        fits = isinstance(value, str | Path)
        value = Path(value) if fits else value
    else:
        fits = True
    if not fits:
        raise MisfitError(described(annotation))
    return value


def _fitted_union(value: Any, annotation: Any) -> Any:
    members = typing.get_args(annotation)
    # A member of exactly the value's type goes first, lest `float | int` turns every int to float.
    for member in sorted(members, key=lambda member: member is not type(value)):
        plain = not isinstance(member, type) or member.__module__ == "builtins" or member is Path
        if not plain and isinstance(value, str | int | float):
            continue  # Beside plain types, a class of another kind is no excuse for any scalar.
        try:
            return fitted(value, member)
        except MisfitError:
            continue
    raise MisfitError(described(annotation))


def _fitted_literal(value: Any, annotation: Any) -> Any:
    if any(
        value == choice and type(value) is type(choice) for choice in typing.get_args(annotation)
    ):
        return value
    raise MisfitError(described(annotation))


def _fitted_list(value: Any, annotation: Any, container: Any) -> Any:
    if not isinstance(value, list | tuple | set | frozenset):
        raise MisfitError(described(annotation))
    inner = typing.get_args(annotation)
    build = container if isinstance(container, type) and container in _LISTS[:4] else list
    if build is tuple and inner and inner[-1] is not Ellipsis:
        if len(value) != len(inner):
            raise MisfitError(f"a list of {len(inner)} values")
        return tuple(fitted(item, wanted) for item, wanted in zip(value, inner, strict=True))
    wanted = inner[0] if inner else Any
    try:
        return build(fitted(item, wanted) for item in value)
    except MisfitError as error:
        raise MisfitError(f"a list of {error}") from error


def _fitted_mapping(value: Any, annotation: Any) -> Any:
    if not isinstance(value, Mapping):
        raise MisfitError(described(annotation))
    inner = typing.get_args(annotation)
    if not inner:
        return dict(value)
    try:
        return {fitted(key, inner[0]): fitted(item, inner[1]) for key, item in value.items()}
    except MisfitError as error:
        raise MisfitError(f"a mapping to {error}") from error
