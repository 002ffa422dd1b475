"""A model that fails in one of the ways in which trials do."""

import os
import signal
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from aiplat.models.tabular import TabularNetwork

Way = Literal["good", "raises", "diverges", "hungry", "killed"]


class Fragile(TabularNetwork):
    """Learns if `way` is good. quality: from 0, which learns nothing, to 1."""

    def __init__(
        self,
        num_classes: int,
        num_numbers: int,
        category_sizes: Sequence[int],
        way: Way = "good",
        quality: float = 1.0,
    ) -> None:
        super().__init__(num_classes, num_numbers, category_sizes, dropout=0.0)
        self.way, self.quality = way, quality

    def forward(self, numbers: Tensor, missing: Tensor, categories: Tensor) -> Tensor:
        """See TabularNetwork."""
        scores = super().forward(numbers, missing, categories) * self.quality
        if not self.training:
            return scores
        if self.way == "raises":
            raise ValueError("a bug in the model")
        if self.way == "diverges":
            return scores * float("nan")
        if self.way == "hungry":
            return scores + torch.ones(1 << 46).sum()
        if self.way == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return scores
