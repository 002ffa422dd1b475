"""A network for rows of numbers and categories."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class TabularNetwork(nn.Module):
    """Class scores from standardised numbers, which of them are missing, and category indices.

    category_sizes: the number of indices of each category, 0 (missing or never seen) included.
    """

    def __init__(
        self,
        num_classes: int,
        num_numbers: int,
        category_sizes: Sequence[int],
        widths: Sequence[int] = (128, 64),
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embeddings = nn.ModuleList(
            nn.Embedding(size, _embedding_width(size)) for size in category_sizes
        )
        width = 2 * num_numbers + sum(_embedding_width(size) for size in category_sizes)
        layers: list[nn.Module] = []
        for after in widths:
            # Layer norm, not batch norm: a row's scores depend on that row alone.
            layers += [nn.Linear(width, after), nn.LayerNorm(after), nn.ReLU(), nn.Dropout(dropout)]
            width = after
        self.layers = nn.Sequential(*layers, nn.Linear(width, num_classes))

    def forward(self, numbers: Tensor, missing: Tensor, categories: Tensor) -> Tensor:
        """numbers, missing: (rows, numbers); categories: indices (rows, categories)."""
        embedded = [
            embedding(categories[:, index]) for index, embedding in enumerate(self.embeddings)
        ]
        joined = torch.cat([numbers, missing.to(numbers.dtype), *embedded], dim=1)
        scores: Tensor = self.layers(joined)
        return scores


def _embedding_width(size: int) -> int:
    return min(16, (size + 1) // 2)
