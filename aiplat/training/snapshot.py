"""What a checkpoint holds, and its form in files: weights, state, position, rows trained on."""

import io
import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from aiplat.training.samples import Ledger

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


@dataclass
class Snapshot:
    """A run at the end of one step. state: of optimizer, schedule, random numbers and the like."""

    position: Position
    ledger: Ledger
    weights: dict[str, Tensor]
    state: dict[str, Any]

    def to_files(self) -> dict[str, bytes]:
        """File names and their contents."""
        state, trained = io.BytesIO(), io.BytesIO()
        torch.save(self.state, state)
        np.save(trained, self.ledger.packed())
        return {
            WEIGHTS: safetensors.torch.save(self.weights),
            STATE: state.getvalue(),
            POSITION: json.dumps(asdict(self.position), indent=2).encode(),
            TRAINED: trained.getvalue(),
        }

    @classmethod
    def from_files(cls, parts: dict[str, bytes]) -> "Snapshot":
        """What `to_files` was given, its tensors on the CPU."""
        position = Position(**json.loads(parts[POSITION]))
        trained = np.load(io.BytesIO(parts[TRAINED]), allow_pickle=False)
        state = torch.load(io.BytesIO(parts[STATE]), map_location="cpu", weights_only=True)
        return cls(
            position=position,
            ledger=Ledger.unpacked(trained, position.num_rows),
            weights=safetensors.torch.load(parts[WEIGHTS]),
            state=state,
        )


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The model's state on the CPU, as a safetensors file takes it."""
    weights: dict[str, Tensor] = {}
    written: set[int] = set()
    for name, value in model.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        # Tied weights share memory, which the format refuses: each name gets its own copy.
        if tensor.untyped_storage().data_ptr() in written:
            tensor = tensor.clone()
        written.add(tensor.untyped_storage().data_ptr())
        weights[name] = tensor
    return weights


def exported_weights(snapshot: Snapshot) -> dict[str, Tensor]:
    """The weights to evaluate and hand over: the moving average where there is one."""
    averages = snapshot.state.get("averages")
    return snapshot.weights | (averages["averaged"] if averages else {})
