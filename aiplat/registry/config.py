"""Under which name and alias a finished run is registered."""

import re
from dataclasses import dataclass

from aiplat.errors import ConfigError

# A name stands in references (`name@alias`, `name:version`), in URLs and in MLflow's own URIs.
_NAME = re.compile(r"[\w][\w.-]*")
_ALIAS = re.compile(r"[A-Za-z][\w-]*")
# MLflow reads `latest` and `v3` in the place of an alias as versions.
_RESERVED_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)


@dataclass
class RegisterConfig:
    """Whether and how a finished run becomes a model version.

    name: the model it becomes a version of; null: it is not registered.
    alias: moves to the new version, whatever carried it before; null: none moves.
    """

    name: str | None = None
    alias: str | None = "champion"

    def __post_init__(self) -> None:
        if self.name is not None:
            check_name(self.name)
        if self.alias is not None:
            check_alias(self.alias)


def check_name(name: str) -> None:
    """Raise ConfigError where a model cannot be called so."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name is {name!r}: a model's name has letters, digits, '.', '_' and '-' only"
        )


def check_alias(alias: str) -> None:
    """Raise ConfigError where an alias cannot be called so."""
    if not _ALIAS.fullmatch(alias) or _RESERVED_ALIAS.fullmatch(alias):
        raise ConfigError(
            f"alias is {alias!r}: an alias begins with a letter, has letters, digits, '_' and '-' "
            "only, and is not 'latest' or like 'v3'"
        )
