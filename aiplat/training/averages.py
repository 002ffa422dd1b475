"""A moving average of a model's weights, which often generalises better than they do."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from aiplat.training.sharding import placed_like


class Averages:
    """The exponential moving average of the trained parameters, kept on their device.

    Young averages forget faster than `decay` says, lest they remember the initial weights.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        # Tied weights have several names, under all of which they are handed over.
        named = model.named_parameters(remove_duplicate=False)
        self.names = {name: value for name, value in named if value.requires_grad}
        self.weights = list(dict.fromkeys(self.names.values()))
        self.averaged = [weight.detach().clone() for weight in self.weights]
        self.decay = decay
        self.num_updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        self.num_updates += 1
        decay = min(self.decay, self.num_updates / (self.num_updates + 10))
        get_ema_multi_avg_fn(decay)(self.averaged, self.weights, self.num_updates)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The model computes with the average until the block ends."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for weight, average in zip(self.weights, self.averaged, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    @property
    def by_name(self) -> dict[str, Tensor]:
        """The averages by the names of their weights."""
        averages = dict(zip(self.weights, self.averaged, strict=True))
        return {name: averages[weight] for name, weight in self.names.items()}

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"num_updates": self.num_updates, "averaged": self.by_name}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue an average; those that `state` lacks stay."""
        self.num_updates = state["num_updates"]
        own = self.by_name
        for name, value in state["averaged"].items():
            own[name].copy_(placed_like(value, own[name]))
