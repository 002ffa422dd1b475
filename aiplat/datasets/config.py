"""What a user chooses about an ingest besides the source."""

import re
from dataclasses import dataclass, field

from aiplat.errors import ConfigError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass
class SplitConfig:
    """How much of the train rows to cut out for the splits that the source does not have.

    The cut is by content hash and seed: it is the same everywhere, and rows keep their split when
    others are added.
    """

    val: float = 0.1
    test: float = 0.1
    seed: int = 0


@dataclass
class IngestTarget:
    """The dataset to make; without a name it is called as the source's file or folder."""

    name: str | None = None


@dataclass(frozen=True)
class IngestOptions:
    """on_error: `fail` refuses the whole set if a row is bad, `skip` leaves the bad rows out."""

    on_error: str = "fail"
    split: SplitConfig = field(default_factory=SplitConfig)
    shard_bytes: int = 128 << 20

    def __post_init__(self) -> None:
        if self.on_error not in ("fail", "skip"):
            raise ConfigError(f"on_error must be fail or skip, got {self.on_error!r}")
        if self.shard_bytes < 1:
            raise ConfigError(f"shard_bytes must be at least 1, got {self.shard_bytes}")
        val, test = self.split.val, self.split.test
        if min(val, test) < 0 or val + test >= 1:
            raise ConfigError(
                f"split.val and split.test must not be negative and their sum must be below 1,"
                f" got {val} and {test}"
            )


def checked_name(name: str) -> str:
    """The dataset name, which becomes a folder; ConfigError where it cannot be one."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"dataset.name={name!r} must begin with a letter or digit and hold only letters, digits"
            " and . _ - (it names a folder); set dataset.name"
        )
    return name
