"""Weights from a file into a model, with errors that say which of them do not fit."""

import logging
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from aiplat.errors import ConfigError

LOG = logging.getLogger(__name__)

State = dict[str, Tensor]


def read_state(path: Path) -> State:
    """The tensors of a `.safetensors` file, or of a `.pt` one that holds nothing else."""
    if not path.is_file():
        raise ConfigError(
            f"model.weights: there is no file {path}: give the path of a weights file"
        )
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only: a pickle could otherwise run code of whoever made the file.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ConfigError(
            f"model.weights: {path} cannot be read as weights ({error}); "
            "expected .safetensors, or .pt with nothing but a state dict of tensors"
        ) from error
    if not isinstance(state, dict) or not all(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ConfigError(
            f"model.weights: {path} is not a state dict (names to tensors): "
            "save model.state_dict() rather than the whole model or checkpoint"
        )
    return state


def load_state(model: nn.Module, state: State, source: str, head: str) -> None:
    """Load `state` into `model`; where its head does not fit, the model's stays fresh and says so.

    head: what the names of the last layer's weights start with. A head made for other classes
    says nothing about ours; everything else must match.
    """
    own = model.state_dict()
    unfit = [name for name, value in state.items() if _differs(own, name, value)]
    # Files older than batch norm's counter do without it, and torch supplies it.
    expected = (name for name in own if not name.endswith(".num_batches_tracked"))
    missing = [name for name in expected if name not in state]
    body = [name for name in (*unfit, *missing) if not name.startswith(head)]
    if body:
        more = f" and {len(body) - 3} more" if len(body) > 3 else ""
        raise ConfigError(
            f"model.weights: {source} does not fit {type(model).__name__}: it lacks, or has in "
            f"another shape or beyond the model's, {', '.join(body[:3])}{more}; "
            "choose the weights of this architecture, or the architecture of these weights"
        )
    if unfit or missing:
        LOG.warning(
            "the head of %s does not fit this model's %s: it starts fresh, the rest is loaded",
            source,
            {name: tuple(value.shape) for name, value in own.items() if name.startswith(head)},
        )
        state = {name: value for name, value in state.items() if not name.startswith(head)}
    model.load_state_dict(state, strict=False)


def _differs(own: State, name: str, value: Tensor) -> bool:
    return name not in own or own[name].shape != value.shape
