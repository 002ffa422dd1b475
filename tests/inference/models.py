"""Small models whose answers a test can foresee."""

import os
import signal
import sys
import time

import torch
from torch import Tensor, nn


class MeanColor(nn.Module):
    """Scores of an image: its mean red, green and blue, times a weight."""

    image_size = 8

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.head = nn.Linear(3, num_classes)

    def forward(self, image: Tensor) -> Tensor:
        """image: uint8 (rows, 3, height, width)."""
        scores: Tensor = self.head(image.float().mean(dim=(2, 3)) / 255)
        return scores


class Dying(MeanColor):
    """Answers as it should, but ends its process when it is compiled."""

    def forward(self, image: Tensor) -> Tensor:
        """image: uint8 (rows, 3, height, width)."""
        if torch.compiler.is_compiling():
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().forward(image)


class Endless(MeanColor):
    """Answers as it should, but takes a day to compile, and says when that begins."""

    def forward(self, image: Tensor) -> Tensor:
        """image: uint8 (rows, 3, height, width)."""
        if torch.compiler.is_compiling():
            sys.stdout.write("at work\n")
            sys.stdout.flush()
            time.sleep(86_400)
        return super().forward(image)
