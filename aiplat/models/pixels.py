"""The first layer of every image model: raw pixels to the standardised numbers its weights expect.

Images travel as uint8 and are standardised here, on the device: a quarter of the bytes to move,
and no transform that training and serving could disagree on.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

HALF = (0.5, 0.5, 0.5)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Standardise(nn.Module):
    """(rows, 3, height, width) in 0..255 to `(pixel / 255 - mean) / std`, channel by channel."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        means, stds = torch.tensor(mean), torch.tensor(std)
        # Constants of the architecture, so not part of the saved weights.
        self.register_buffer("scale", (1 / (255 * stds)).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("shift", (-means / stds).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Standardise a batch, keeping its memory format."""
        return torch.addcmul(self.shift, pixels.to(self.scale.dtype), self.scale)
