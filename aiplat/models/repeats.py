"""Compute what repeats in a batch once: captions and questions often read the same."""

import torch
from torch import Tensor, nn

# Below this share of distinct rows, picking them out costs less than it saves.
_WORTH_IT = 0.9


def embedded_texts(tower: nn.Module, tokens: Tensor, mask: Tensor) -> Tensor:
    """What `tower(tokens, mask)` gives, each distinct text having gone through it once.

    On a CPU only: elsewhere to find out how many there are would wait for the device. A tower
    that draws random numbers (dropout) draws the same ones for the rows of one text.
    """
    if tokens.device.type != "cpu" or torch.compiler.is_compiling():
        return tower(tokens, mask)
    embedded: Tensor
    both = torch.cat([tokens, mask.to(tokens.dtype)], dim=1)
    distinct, of_row = torch.unique(both, dim=0, return_inverse=True)
    if len(distinct) > _WORTH_IT * len(tokens):
        return tower(tokens, mask)
    width = tokens.shape[1]
    embedded = tower(distinct[:, :width], distinct[:, width:].bool())
    return embedded.index_select(0, of_row)
