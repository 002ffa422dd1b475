"""Pluggable nodes: mappings whose `_target_` is the import path of what they build.

The import path is the registry: whatever Python can import can be named, and its signature is the
node's schema. A configuration therefore runs code; it never comes from a request.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import field
from inspect import Parameter, Signature
from typing import Any

from aiplat.config import signatures
from aiplat.config.annotations import MisfitError, fitted, shown
from aiplat.config.problems import Problem, join, nearest
from aiplat.errors import ConfigError

TARGET = "_target_"
PROVIDED = "provided"
MISSING = "???"
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def node(*provided: str, optional: bool = False) -> Any:
    """A dataclass field that holds a pluggable node.

    provided: names of the arguments that the platform passes where the target has them.
    """
    metadata = {PROVIDED: frozenset(provided)}
    return field(default=None, metadata=metadata) if optional else field(metadata=metadata)


def resolve(node: Mapping[str, Any]) -> Callable[..., Any]:
    """Import what the node's `_target_` names. Raises ConfigError."""
    return signatures.located(_target(node))


def build(node: Mapping[str, Any], /, **provided: Any) -> Any:
    """Call the node's target with the node's values and those of `provided` that it takes.

    What the node sets to something other than null wins over `provided`. Nested nodes are built
    first, by the same rule. Raises ConfigError naming every argument that does not fit.
    """
    found = problems("", node, provided)
    if found:
        lines = "; ".join(f"{problem.path}: {problem.message}" for problem in found)
        raise ConfigError(f"cannot build {node.get(TARGET)}: {lines}")
    return _built(node, provided)


def problems(path: str, node: Any, provided: Collection[str]) -> list[Problem]:
    """Everything that would keep `build` from calling the node's target; nothing is called.

    path: where the node stands in the configuration. provided: names `build` will be given.
    """
    try:
        signature = signatures.signature(_target(node))
    except ConfigError as error:
        return [Problem(join(path, TARGET), str(error))]
    found = []
    for key, value in node.items():
        if key == TARGET:
            continue
        message = _argument_fault(key, value, str(node[TARGET]), signature, provided)
        found += [Problem(join(path, key), message)] if message else []
        found += _nested_problems(join(path, key), value, provided)
    for name, parameter in signature.parameters.items():
        if _is_required(parameter) and name not in node and name not in provided:
            found.append(Problem(join(path, name), f"{node[TARGET]} needs it: set a value"))
    return found


def is_node(value: Any) -> bool:
    """Whether the value is a mapping that names a target."""
    return isinstance(value, Mapping) and TARGET in value


def _target(node: Any) -> str:
    if not isinstance(node, Mapping):
        raise ConfigError(f"expected a mapping with a {TARGET}, got {shown(node)}")
    target = node.get(TARGET)
    if not isinstance(target, str):
        raise ConfigError(
            f"expected an import path like 'package.module.Name', got {shown(target)}"
        )
    return target


def _argument_fault(
    key: str, value: Any, target: str, signature: Signature, provided: Collection[str]
) -> str | None:
    """What is wrong with one value of a node, nested nodes aside."""
    parameters = signature.parameters
    names = [name for name, parameter in parameters.items() if parameter.kind in _NAMED]
    if key not in names:
        if any(item.kind is Parameter.VAR_KEYWORD for item in parameters.values()):
            return None
        alike = nearest(key, names)
        hint = f"did you mean {alike!r}? " if alike else ""
        return f"{target} has no such parameter; {hint}(it has: {', '.join(names) or 'none'})"
    if value == MISSING:
        return f"{target} needs it: set a value"
    # Null stands for the default, or for what the platform passes.
    if value is None and (parameters[key].default is None or key in provided):
        return None
    try:
        if not _has_nodes(value):
            fitted(value, parameters[key].annotation)
    except MisfitError as error:
        return f"{target} expects {error}, got {shown(value)}"
    return None


def _nested_problems(path: str, value: Any, provided: Collection[str]) -> list[Problem]:
    if is_node(value):
        return problems(path, value, provided)
    found = []
    for key, item in _items(value):
        found += _nested_problems(join(path, str(key)), item, provided)
    return found


def _is_required(parameter: Parameter) -> bool:
    return parameter.kind in _NAMED and parameter.default is Parameter.empty


def _items(value: Any) -> list[tuple[Any, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    return list(enumerate(value)) if isinstance(value, list | tuple) else []


def _has_nodes(value: Any) -> bool:
    return is_node(value) or any(_has_nodes(item) for _, item in _items(value))


def _built(node: Mapping[str, Any], provided: Mapping[str, Any]) -> Any:
    parameters = signatures.signature(node[TARGET]).parameters
    arguments = {}
    for key, value in node.items():
        if key == TARGET:
            continue
        nested = _has_nodes(value)
        annotation = parameters[key].annotation if key in parameters else Any
        plain = nested or value is None
        arguments[key] = _value(value, provided) if plain else fitted(value, annotation)
    for name, parameter in parameters.items():
        if parameter.kind in _NAMED and name in provided and arguments.get(name) is None:
            arguments[name] = provided[name]
    return resolve(node)(**arguments)


def _value(value: Any, provided: Mapping[str, Any]) -> Any:
    if is_node(value):
        return _built(value, provided)
    if isinstance(value, Mapping):
        return {key: _value(item, provided) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item, provided) for item in value]
    return value
