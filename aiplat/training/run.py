"""A run's folder: who may write it, what it was started with, how far it came.

The name of a run is its identity. Starting it again continues it, so what decides its outcome may
not change in between, and one process at a time may hold it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf

from aiplat.config.tree import flatten
from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError
from aiplat.store import files
from aiplat.store.lock import held

CONFIG = "config.yaml"
STATE = "run.json"

# What may differ when a run is continued: where and how it runs, and what is done about failures,
# not what it computes.
FREE = (
    "storage",
    "cluster",
    "scale",
    "tracking",
    "register",
    "tuning",
    "checkpoint",
    "dataset.cache_bytes",
    "loop.log_every_steps",
    "loop.oom",
    "loop.on_nan",
    "loop.stall_s",
    "loop.profile",
)


@dataclass
class Run:
    """The folder of one run, held by this process."""

    name: str
    uri: str

    @property
    def version(self) -> str | None:
        """The hash of the dataset version that the run began with; None before it began."""
        return self._state.get("version")

    @property
    def tracking_id(self) -> str | None:
        """What the tracker calls the run; None before it began."""
        return self._state.get("tracking_id")

    def begin(self, dataset: DatasetVersion, tracking_id: str) -> None:
        """Note what the run trains on and where it is recorded, for when it is continued."""
        state = {"dataset": dataset.id, "version": dataset.version, "tracking_id": tracking_id}
        files.write_json(files.join(self.uri, STATE), state)

    @property
    def model(self) -> str:
        """Where the finished model version is exported to."""
        return files.join(self.uri, "model")

    @property
    def _state(self) -> dict[str, Any]:
        path = files.join(self.uri, STATE)
        return dict(files.read_json(path)) if files.exists(path) else {}


@contextmanager
def open_run(storage: str, name: str, config: Mapping[str, Any]) -> Iterator[Run]:
    """Create the run's folder or take it up again, and hold it until the block ends.

    config: the whole composed configuration. Raises ConfigError where another process holds the
    folder, or where `config` differs in anything that decides the outcome from what the run was
    started with.
    """
    run = Run(name=name, uri=files.join(files.absolute(storage), "runs", name))
    busy = (
        f"name={name}: another process is training this run ({run.uri}); wait for it, or choose "
        "another name="
    )
    with held(run.uri, busy):
        path = files.join(run.uri, CONFIG)
        if files.exists(path):
            before = OmegaConf.to_container(OmegaConf.create(files.read_bytes(path).decode()))
            check_unchanged(f"run {name!r} ({run.uri})", before, config)
        else:
            files.write_bytes(path, OmegaConf.to_yaml(OmegaConf.create(dict(config))).encode())
        yield run


def check_unchanged(
    what: str,
    before: Any,
    now: Mapping[str, Any],
    free: Sequence[str] = FREE,
    advice: str = "choose another name= for this one",
) -> None:
    """Raise ConfigError where two configurations differ in more than the paths of `free`.

    what: was started with the one `before`, and is to be continued with that of `now`.
    """
    old, new = flatten(before), flatten(now)
    changed = [
        f"  {key}: was {old.get(key)!r}, now {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not _is_free(key, free)
    ]
    if changed:
        raise ConfigError(
            f"{what} was started with another configuration:\n"
            + "\n".join(changed)
            + f"\n{advice}, or set these back to continue it"
        )


def _is_free(key: str, free: Sequence[str]) -> bool:
    return any(key == path or key.startswith(f"{path}.") for path in free)
