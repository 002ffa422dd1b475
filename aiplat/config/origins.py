"""Where a key of a composed configuration was set: on the command line or in which file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from aiplat.config.annotations import shown
from aiplat.config.targets import MISSING

_ABSENT = object()


def origin(
    path: str,
    folders: Sequence[Path],
    parts: Sequence[tuple[str, str]],
    overrides: Sequence[Override],
) -> str:
    """What set the key at a dotted path, and to what; empty where nothing did.

    folders: the search path. parts: the composed files in their order, without suffix, and the
    package each is merged at. overrides: those of the command line, which come last.
    """
    for override in reversed(overrides):
        key = override.key_or_group
        if f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}."):
            return f"{override.input_line} on the command line"
    for name, package in reversed(parts):
        file = next((folder / f"{name}.yaml" for folder in folders if _holds(folder, name)), None)
        if file is None:
            continue
        value = _value_at(_tree(file, package), path)
        if value is not _ABSENT:
            where = f"{folders[0].name}/{name}.yaml" if folders[0] in file.parents else str(file)
            return f"{_in_words(value)} in {where}"
    return ""


def _in_words(value: Any) -> str:
    if value == MISSING:
        return "left open"
    return "set" if isinstance(value, Mapping) else shown(value)


def _holds(folder: Path, name: str) -> bool:
    return (folder / f"{name}.yaml").is_file()


def _tree(file: Path, package: str) -> Any:
    tree = OmegaConf.to_container(OmegaConf.load(file))
    for name in reversed(package.split(".") if package else []):
        tree = {name: tree}
    return tree


def _value_at(tree: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(tree, list) and name.isdigit() and int(name) < len(tree):
            tree = tree[int(name)]
        elif isinstance(tree, Mapping) and name in tree:
            tree = tree[name]
        else:
            return _ABSENT
    return tree
