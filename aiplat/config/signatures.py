"""The signature behind an import path, read from source so that a check need not import it.

Importing a model means importing torch, which takes longer than a person who mistyped a key should
wait. Whatever the source does not settle (decorators, several base classes, compiled code) is
imported after all.
"""

import ast
import importlib
import importlib.util
import inspect
import pkgutil
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from inspect import Parameter
from pathlib import Path
from typing import Any, Literal, Optional, Union

from aiplat.config.annotations import Other
from aiplat.config.problems import suggestion
from aiplat.errors import ConfigError

_MAX_IMPORTS_FOLLOWED = 5
_NAMES: dict[str, Any] = {
    "Any": Any, "Callable": Any, "Collection": Collection, "Iterable": Iterable, "List": list,
    "Literal": Literal, "Mapping": Mapping, "Optional": Optional, "Path": Path,
    "Sequence": Sequence, "Tuple": tuple, "Dict": dict, "Union": Union, "bool": bool, "dict": dict,
    "float": float, "int": int, "list": list, "object": Any, "str": str, "tuple": tuple,
}  # fmt: skip


def signature(target: str) -> inspect.Signature:
    """Parameters, defaults and annotations of calling `target`, a dotted import path.

    Raises ConfigError where there is no such thing.
    """
    module, _, name = target.rpartition(".")
    found = _definition(module, name) if module else None
    if found is not None and (parameters := _parameters(found)) is not None:
        return inspect.Signature(parameters)
    return _imported_signature(target)


def located(target: str) -> Callable[..., Any]:
    """Import what `target` names. Raises ConfigError naming the nearest thing there is."""
    parts = target.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise ConfigError(f"{target!r} is not an import path, expected 'package.module.Name'")
    module, rest = _longest_module(parts)
    found: Any = module
    for position, part in enumerate(rest):
        if not hasattr(found, part):
            where = ".".join(parts[: len(parts) - len(rest) + position])
            public = [name for name in dir(found) if not name.startswith("_")]
            raise _missing(target, where, part, [*public, *_submodules(found)])
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{target} is a {type(found).__name__}, expected a class or a function")
    return typing.cast(Callable[..., Any], found)


@dataclass(frozen=True)
class _Found:
    """A class or function in the source of a module."""

    module: str
    node: ast.ClassDef | ast.FunctionDef


def _definition(module: str, name: str, depth: int = 0) -> _Found | None:
    """What `name` is in the source of `module`; None where only an import can tell."""
    spec = _spec(module)
    if spec is None or not (spec.origin or "").endswith(".py") or depth > _MAX_IMPORTS_FOLLOWED:
        return None
    body = ast.parse(Path(str(spec.origin)).read_bytes()).body
    for node in reversed(body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return _Found(module, node)
        if isinstance(node, ast.ImportFrom) and (origin := _origin(node, name, spec)):
            return _definition(*origin, depth + 1)
    if depth == 0:
        _refuse_absent(module, name, spec, body)
    return None


def _refuse_absent(module: str, name: str, spec: ModuleSpec, body: list[ast.stmt]) -> None:
    """Raise ConfigError where the source alone shows that the module has no such name."""
    names = _closed_names(body)
    parts = pkgutil.iter_modules(spec.submodule_search_locations or [])
    if names is not None and name not in (*names, *(part.name for part in parts)):
        raise _missing(f"{module}.{name}", module, name, names)


def _closed_names(body: list[ast.stmt]) -> list[str] | None:
    """Public names the module defines; None where it may have others than its source shows."""
    names: list[str] = []
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            if node.name == "__getattr__":
                return None
            names.append(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name for alias in node.names]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names += [target.id for target in targets if isinstance(target, ast.Name)]
        elif not isinstance(node, ast.Expr):
            return None
    return None if "*" in names else [name for name in names if not name.startswith("_")]


def _parameters(found: _Found) -> list[Parameter] | None:
    """The parameters of a call; None where only an import can tell."""
    node = found.node
    if node.decorator_list:
        return None
    if isinstance(node, ast.FunctionDef):
        return _arguments(node)
    if node.keywords:
        return None
    methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
    if "__new__" in methods:
        return None
    if "__init__" not in methods:
        return _inherited(found)
    return None if methods["__init__"].decorator_list else _arguments(methods["__init__"])[1:]


def _inherited(found: _Found) -> list[Parameter] | None:
    """The parameters of the constructor that a class has from the only class it builds on."""
    bases = found.node.bases if isinstance(found.node, ast.ClassDef) else []
    if not bases:
        return []
    if len(bases) > 1 or not isinstance(bases[0], ast.Name):
        return None
    base = _definition(found.module, bases[0].id, depth=1)
    return _parameters(base) if base else None


def _arguments(function: ast.FunctionDef) -> list[Parameter]:
    given = function.args
    positional = [*given.posonlyargs, *given.args]
    required = [None] * (len(positional) - len(given.defaults))
    parameters = []
    for index, default in enumerate([*required, *given.defaults]):
        only = index < len(given.posonlyargs)
        kind = Parameter.POSITIONAL_ONLY if only else Parameter.POSITIONAL_OR_KEYWORD
        parameters.append(_parameter(positional[index], kind, default))
    if given.vararg:
        parameters.append(Parameter(given.vararg.arg, Parameter.VAR_POSITIONAL))
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        parameters.append(_parameter(argument, Parameter.KEYWORD_ONLY, default))
    if given.kwarg:
        parameters.append(Parameter(given.kwarg.arg, Parameter.VAR_KEYWORD))
    return parameters


def _parameter(argument: ast.arg, kind: Any, source: ast.expr | None) -> Parameter:
    annotation = _annotation(argument.annotation) if argument.annotation else Any
    default: Any = Parameter.empty
    if source is not None:
        # That there is one and whether it is None matters here, not what else it is.
        default = None if isinstance(source, ast.Constant) and source.value is None else ...
    return Parameter(argument.arg, kind, default=default, annotation=annotation)


def _annotation(node: ast.expr) -> Any:
    """The type an annotation's source means, as far as plain types go; `Other` for the rest."""
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            return _annotation(ast.parse(node.value, mode="eval").body)
        return type(None) if node.value is None else Any
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return _NAMES[name] if name in _NAMES else type(name, (Other,), {})
    if isinstance(node, ast.BinOp):
        return Union[_annotation(node.left), _annotation(node.right)]  # noqa: UP007
    if isinstance(node, ast.Subscript):
        return _subscripted(node)
    return Any


def _subscripted(node: ast.Subscript) -> Any:
    base = _annotation(node.value)
    inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if base is Literal:
        return Literal[tuple(item.value for item in inner if isinstance(item, ast.Constant))]
    if base is Any or (isinstance(base, type) and issubclass(base, Other)):
        return base
    arguments = tuple(
        ... if isinstance(item, ast.Constant) and item.value is ... else _annotation(item)
        for item in inner
    )
    return base[arguments if len(arguments) > 1 else arguments[0]]


def _imported_signature(target: str) -> inspect.Signature:
    found = located(target)
    try:
        plain = inspect.signature(found)
    except (TypeError, ValueError):
        # Compiled code without a signature: what it takes shows when it is called.
        return inspect.Signature([Parameter("arguments", Parameter.VAR_KEYWORD)])
    constructor = found.__init__ if inspect.isclass(found) else found
    try:
        hints = typing.get_type_hints(constructor)
    except Exception:
        hints = {}  # Names in its annotations exist for type checkers only.
    parameters = [
        parameter.replace(annotation=hints.get(name, Any))
        for name, parameter in plain.parameters.items()
    ]
    return inspect.Signature(parameters)


def _spec(module: str) -> ModuleSpec | None:
    """Where a module lies, found without importing the packages above it."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    path = top
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        path = f"{path}.{part}"
        spec = PathFinder.find_spec(path, spec.submodule_search_locations)
    return spec


def _origin(node: ast.ImportFrom, name: str, spec: ModuleSpec) -> tuple[str, str] | None:
    """The module that an import statement has `name` from, and what it is called there."""
    called = {alias.asname or alias.name: alias.name for alias in node.names}
    return (_module(node, spec), called[name]) if name in called else None


def _module(node: ast.ImportFrom, spec: ModuleSpec) -> str:
    """The module that a `from ... import` reads, with leading dots resolved."""
    if not node.level:
        return node.module or ""
    package = spec.name if spec.submodule_search_locations else spec.name.rpartition(".")[0]
    for _ in range(node.level - 1):
        package = package.rpartition(".")[0]
    return f"{package}.{node.module}" if node.module else package


def _longest_module(parts: list[str]) -> tuple[Any, list[str]]:
    """The module at the head of a dotted path, imported, and the names after it."""
    target = ".".join(parts)
    for length in range(len(parts) - 1, 0, -1):
        path = ".".join(parts[:length])
        try:
            return importlib.import_module(path), parts[length:]
        except ModuleNotFoundError as error:
            if error.name is None or not f"{path}.".startswith(f"{error.name}."):
                raise ConfigError(
                    f"{target} needs the package {error.name!r}: install it"
                ) from error
        except ImportError as error:
            raise ConfigError(f"{target} cannot be imported: {error}") from error
    raise ConfigError(f"{target}: there is no package {parts[0]!r}; install it or mend the path")


def _submodules(module: Any) -> list[str]:
    return [part.name for part in pkgutil.iter_modules(getattr(module, "__path__", []))]


def _missing(target: str, where: str, name: str, choices: list[str]) -> ConfigError:
    return ConfigError(f"{target}: {where} has no {name!r}; {suggestion(name, choices)}")
