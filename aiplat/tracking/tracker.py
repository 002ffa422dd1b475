"""What is kept of a run, and what every tracker offers; knows no tracking system.

A tracker lives in the process that watches a run, never in a worker.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from aiplat.config.secrets import without_secrets
from aiplat.config.tree import flatten
from aiplat.datasets.versions import DatasetVersion
from aiplat.store.environment import commit, environment

Status = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True)
class RunRecord:
    """How a run is written down when it starts.

    params: the resolved configuration, dotted path -> value as text, without secrets.
    tags: the commit, the environment and what else describes the run. parent: the id of the record
    it belongs under, as a study's trials do.
    """

    name: str
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    parent: str | None = None


def run_record(
    name: str, config: Mapping[str, Any], tags: Mapping[str, str], parent: str | None = None
) -> RunRecord:
    """The record of a run of the whole composed `config`, its commit and environment added."""
    leaves = flatten(without_secrets(config))
    params = {key: _as_text(value) for key, value in leaves.items()}
    versions = {f"environment.{part}": version for part, version in environment().items()}
    described = {"commit": commit(), **versions, **tags}
    return RunRecord(name=name, params=params, tags=described, parent=parent)


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Tracker(Protocol):
    """Keeps the record of one run. One thread at a time calls it."""

    def open(self) -> None:
        """Do what takes long before a run can start: imports, a database, a connection.

        May run in a background thread; `start` does it where nobody did. Raises ConfigError where
        the place to record in cannot be used.
        """
        ...

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        """Begin the record, or go on with the one of the id `resume`; return its id."""
        ...

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Note metrics of a step. Buffered: what cannot be written now is kept and tried again."""
        ...

    def log_input(self, version: DatasetVersion, split: str) -> None:
        """Note that the run reads this split."""
        ...

    def log_artifacts(self, path: Path, name: str) -> None:
        """Keep a file, or all files of a folder, under `name`, where the tracker keeps files."""
        ...

    def tag(self, name: str, text: str) -> None:
        """Note a line about the run, in place of what was noted under this name before.

        Never raises: a run goes on without it.
        """
        ...

    def finish(self, status: Status) -> None:
        """Write what is still buffered and close the record. Raises AiplatError where it cannot."""
        ...


class NoTracker:
    """Keeps nothing."""

    def open(self) -> None:
        """Nothing takes long."""

    def start(self, run: RunRecord, resume: str | None = None) -> str:  # noqa: ARG002
        """There is no record, so its id is empty."""
        return ""

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Forget the metrics."""

    def log_input(self, version: DatasetVersion, split: str) -> None:
        """Forget the input."""

    def log_artifacts(self, path: Path, name: str) -> None:
        """Keep no files."""

    def tag(self, name: str, text: str) -> None:
        """Forget the line."""

    def finish(self, status: Status) -> None:
        """Nothing is left to write."""
