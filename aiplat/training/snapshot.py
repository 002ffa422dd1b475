"""What a checkpoint holds, and its form in files: weights, state, position, rows trained on."""

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from aiplat.store import files
from aiplat.training.samples import Ledger
from aiplat.training.shards import whole_state, whole_weights

WEIGHTS = "model.safetensors"
STATE = "state.pt"
POSITION = "position.json"
TRAINED = "trained.npy"


@dataclass
class Position:
    """How far a run has come.

    epoch: the one being trained, from 1. step, rows_seen: over all epochs.
    total_steps: what the schedule was made for. world_size: of the ranks that got here.
    attempts: how often the run was started. score: the primary validation metric of these weights,
    where they were evaluated. epochs_since_best: evaluated epochs without a better score.
    """

    num_rows: int
    total_steps: int
    world_size: int
    epoch: int = 1
    step: int = 0
    rows_seen: int = 0
    attempts: int = 1
    score: float | None = None
    best_step: int = 0
    best_score: float | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    epochs_since_best: int = 0


class Shards(Protocol):
    """State of which every rank holds a part, in files of its own form."""

    def save(self, folder: Path) -> None:
        """Write this rank's files; every rank calls it, and names differ between ranks.

        Raises OSError where the storage refuses.
        """
        ...

    def load(self, folder: Path) -> None:
        """Read this rank's part from the files of all ranks, of however many wrote them."""
        ...


@dataclass
class Snapshot:
    """A run at the end of one step. state: of optimizer, schedule, random numbers and the like.

    shards: where the state lies that ranks hold parts of; its weights are not in `weights`, then.
    """

    position: Position
    ledger: Ledger
    weights: dict[str, Tensor]
    state: dict[str, Any]
    shards: str | None = None

    def write(self, folder: Path) -> None:
        """Write all but the shards as files. Raises OSError."""
        if self.weights:
            _write_weights(self.weights, folder / WEIGHTS)
        _write_state(self.state, folder / STATE)
        (folder / POSITION).write_text(json.dumps(asdict(self.position), indent=2))
        np.save(folder / TRAINED, self.ledger.packed())

    @classmethod
    def read(cls, folder: Path, shards: str | None = None) -> "Snapshot":
        """What was written, its tensors on the CPU."""
        position = Position(**json.loads((folder / POSITION).read_bytes()))
        trained = np.load(folder / TRAINED, allow_pickle=False)
        weights = folder / WEIGHTS
        return cls(
            position=position,
            ledger=Ledger.unpacked(trained, position.num_rows),
            weights=safetensors.torch.load_file(weights) if weights.exists() else {},
            state=torch.load(folder / STATE, map_location="cpu", weights_only=True),
            shards=shards,
        )


def _write_weights(weights: dict[str, Tensor], path: Path) -> None:
    try:
        safetensors.torch.save_file(weights, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error


def _write_state(state: dict[str, Any], path: Path) -> None:
    try:
        with path.open("wb") as stream:
            torch.save(state, stream)
    except RuntimeError as error:
        # What torch says of a disk that is full is that it is at another position than it thought.
        if isinstance(error.__context__, OSError):
            raise error.__context__ from None
        raise


def exported_weights(snapshot: Snapshot) -> dict[str, Tensor]:
    """The weights to evaluate and hand over: the moving average where there is one."""
    if snapshot.shards is not None:
        with files.fetched(snapshot.shards) as folder:
            weights, averaged = whole_weights(folder)
        return weights | averaged
    averages = snapshot.state.get("averages")
    return snapshot.weights | (averages["averaged"] if averages else {})


def consolidated(snapshot: Snapshot) -> Snapshot:
    """The snapshot with all in it that ranks had parts of."""
    if snapshot.shards is None:
        return snapshot
    with files.fetched(snapshot.shards) as folder:
        weights, _ = whole_weights(folder)
        state = whole_state(folder, snapshot.state)
    return replace(snapshot, weights=weights, state=state, shards=None)
