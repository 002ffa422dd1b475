"""Embed images and texts in one space, where a pair's likeness is the cosine between them."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from aiplat.models.repeats import embedded_texts
from aiplat.models.towers import Towers

# As CLIP does (Radford et al. 2021): sharper scores make training unstable.
_MAX_SCALE = 100.0


class PairedTowers(nn.Module):
    """Unit embeddings of images and texts, and the learned scale their cosines are scored with."""

    def __init__(self, towers: Towers, temperature: float = 0.07) -> None:
        super().__init__()
        self.image_size = towers.image_size
        self.embed_size = towers.embed_size
        self.vocab_size = towers.vocab_size
        self.max_tokens = towers.max_tokens
        self.image_tower = towers.image_tower
        self.text_tower = towers.text_tower
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(
        self, image: Tensor | None = None, tokens: Tensor | None = None, mask: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """The unit embeddings (rows, embed_size) of what is given, and the scale.

        Everything goes through `forward`, so that a wrapper which averages gradients sees it.
        """
        pictured = None if image is None else F.normalize(self.image_tower(image).float(), dim=1)
        worded = None
        if tokens is not None and mask is not None:
            embedded = embedded_texts(self.text_tower, tokens, mask)
            worded = F.normalize(embedded.float(), dim=1)
        return pictured, worded, self.log_scale.exp().clamp(max=_MAX_SCALE)
