"""The folders that configuration is read from, and what there is to choose in them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from aiplat.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parents[1]


def conf_dir() -> Path:
    """The folder of the configuration that comes with aiplat.

    It lies beside the package in a checkout and inside it where it was installed from a wheel.
    """
    inside = _PACKAGE / "conf"
    return inside if inside.is_dir() else _PACKAGE.parent / "conf"


def search_path(further: Sequence[Path]) -> tuple[Path, ...]:
    """Our folder and then the `further` ones, which may add files but not replace ours.

    Raises ConfigError where they cannot be read or would not be.
    """
    ours = conf_dir()
    for folder in further:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir {folder}: there is no such folder")
        for file in folder.rglob("*.yaml"):
            hidden_by = ours / file.relative_to(folder)
            # Hydra reads the first it finds and never mentions the other.
            if hidden_by.exists() and not hidden_by.samefile(file):
                raise ConfigError(f"{file} has the name of aiplat's own {hidden_by}: rename it")
    return (ours, *(folder.absolute() for folder in further))


def groups(folders: Sequence[Path]) -> dict[str, dict[str, Path]]:
    """The file of every option, by group and option."""
    found: dict[str, dict[str, Path]] = {}
    for folder in folders:
        for file in sorted(folder.rglob("*.yaml")):
            if file.parent != folder:
                group = file.parent.relative_to(folder).as_posix()
                found.setdefault(group, {}).setdefault(file.stem, file)
    return dict(sorted(found.items()))


def listed(file: Path) -> dict[str, Any]:
    """The options a file's defaults list takes, by group; `override /` is left out of the names.

    A file that is no YAML lists nothing here: composing it is what tells why.
    """
    try:
        tree: Any = OmegaConf.to_container(OmegaConf.load(file))
    except yaml.YAMLError:
        return {}
    entries = [entry for entry in tree.get("defaults", []) if isinstance(entry, dict)]
    return {
        str(key).removeprefix("override").lstrip(" /"): option
        for entry in entries
        for key, option in entry.items()
    }
