"""A small text encoder, trained from scratch: tokens to one vector a text."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aiplat.models.sizes import TransformerSizes

# From this width on bf16 is faster on a CPU that has it.
_WIDE = 192


class Block(nn.Module):
    """Attention and a two-layer network, each on normalised input and added to it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.network = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """states: (rows, tokens, width); mask: boolean (rows, 1, 1, tokens), false on padding."""
        states = states + self.dropout(self._attend(self.attention_norm(states), mask))
        return states + self.dropout(self.network(self.network_norm(states)))

    def _attend(self, states: Tensor, mask: Tensor) -> Tensor:
        rows, tokens, width = states.shape
        parts = self.query_key_value(states).view(rows, tokens, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        attended: Tensor = self.attended(mixed.transpose(1, 2).reshape(rows, tokens, width))
        return attended


class TextTransformer(nn.Module):
    """Embeds a text as the mean of its tokens' last states."""

    def __init__(self, sizes: TransformerSizes, max_tokens: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(sizes.vocab_size, sizes.width)
        self.positions = nn.Parameter(torch.empty(max_tokens, sizes.width))
        self.blocks = nn.ModuleList(
            Block(sizes.width, sizes.heads, sizes.dropout) for _ in range(sizes.layers)
        )
        self.norm = nn.LayerNorm(sizes.width)
        # Large beside what the blocks add at first, so that texts of one word's difference differ.
        nn.init.normal_(self.tokens.weight, std=1.0)
        nn.init.normal_(self.positions, std=0.1)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens: ids (rows, tokens); mask: boolean, false on padding. Returns (rows, width)."""
        with _suiting_precision(tokens.device, self.positions.shape[1]):
            states = self.tokens(tokens) + self.positions[: tokens.shape[1]]
            for block in self.blocks:
                states = block(states, mask[:, None, None, :])
            return mean_over_tokens(self.norm(states), mask)


def _suiting_precision(device: torch.device, width: int) -> AbstractContextManager[object]:
    """On a CPU narrow matrices cost more to convert than bf16 saves (benchmarks/LOG.md)."""
    if device.type == "cpu" and width < _WIDE:
        return torch.autocast("cpu", enabled=False)
    return nullcontext()


def mean_over_tokens(states: Tensor, mask: Tensor) -> Tensor:
    """The mean of each row's states over its tokens, padding left out: (rows, width)."""
    weight = mask.unsqueeze(-1).to(states.dtype)
    return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
