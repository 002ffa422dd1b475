"""The engine that was chosen for a model version on a kind of hardware, kept beside the version.

A choice counts where weights, hardware and threads are those it was measured with, and its program
where the engine is of the same release; everything else is as if there were none.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from aiplat.errors import RegistryError
from aiplat.inference.engines.program import PROGRAM
from aiplat.inference.measuring.results import Chosen
from aiplat.registry.attachments import attach, attach_json, fetch_attachment, read_attachment
from aiplat.registry.versions import ModelVersion
from aiplat.store import files

CHOICE = "choice.json"
_ROOT = "engines"


@dataclass(frozen=True)
class Place:
    """What a choice is made for. weights: SHA-256 of the model's; hardware: as described."""

    weights: str
    hardware: str
    threads: int

    @property
    def name(self) -> str:
        """The folder of the choice, beside the version's."""
        key = json.dumps(asdict(self), sort_keys=True)
        return f"{_ROOT}/{hashlib.sha256(key.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Choice:
    """An engine, how it is used, and what was measured of it.

    release: of the engine's library. program: the folder of its files, called by what they hold;
    None for eager, which has none. files: the SHA-256 of each of them.
    """

    place: Place
    engine: str
    release: str
    precision: str
    batch_size: int
    measured: dict[str, Any]
    program: str | None = None
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Choice":
        """Read what `asdict` made."""
        return cls(**{**value, "place": Place(**value["place"])})

    @property
    def called(self) -> str:
        """How people read it: engine and precision."""
        return f"{self.engine} {self.precision}"


def choice_of(place: Place, best: Chosen) -> Choice:
    """What is kept of the best that was measured."""
    result, point = best.result, best.point
    measured = {
        "median_ms": point.median_ms,
        "p99_ms": point.p99_ms,
        "rows_per_s": point.rows_per_s,
        "max_difference": result.parity.difference if result.parity else 0.0,
    }
    arm = result.arm
    return Choice(place, arm.engine, result.release, arm.precision, point.batch_size, measured)


def store_choice(version: ModelVersion, choice: Choice, program: Path | None, report: Path) -> str:
    """Keep a choice, the files of its program and those of the report.

    Returns where, beside the version's own folder.
    """
    name = choice.place.name
    kept = choice
    if program is not None:
        hashes = files.folder_hashes(str(program))
        digest = hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()[:16]
        # Under a name of its own: a replica may read an earlier program just now.
        attach(version, f"{name}/{digest}", program)
        kept = replace(choice, program=digest, files=hashes)
    attach(version, name, report)
    # Last, because it says that the rest is there.
    attach_json(version, f"{name}/{CHOICE}", asdict(kept))
    return name


def stored_choice(version: ModelVersion, place: Place) -> Choice | None:
    """The choice for this place; None where none was made."""
    value = read_attachment(version, f"{place.name}/{CHOICE}")
    return None if value is None else Choice.from_json(value)


def fetch_program(version: ModelVersion, choice: Choice) -> Path:
    """The files of a choice's program on this machine.

    Raises RegistryError where they are not those that were stored.
    """
    folder = fetch_attachment(version, f"{choice.place.name}/{choice.program}", PROGRAM)
    if not folder.is_dir() or files.folder_hashes(str(folder)) != choice.files:
        raise RegistryError(
            f"the compiled model in {folder} is not what was stored: optimize {version.id} anew"
        )
    return folder
