"""Classify from an image and a text together: both embeddings side by side into one head."""

from typing import Literal

import torch
from torch import Tensor, nn

from aiplat.models.repeats import embedded_texts
from aiplat.models.towers import Towers


class Fusion(nn.Module):
    """Scores of a row from `[image_embedding; text_embedding]`; either may be missing.

    What is missing is stood in for by a learned vector. modalities: `image` or `text` looks at
    that side alone, the other being missing in every row, which shows what each is worth; the
    tower not looked through is not part of the model.
    """

    def __init__(
        self,
        towers: Towers,
        num_classes: int,
        modalities: Literal["both", "image", "text"] = "both",
        hidden: int = 256,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.image_size = towers.image_size
        self.vocab_size = towers.vocab_size
        self.max_tokens = towers.max_tokens
        self.image_tower = towers.image_tower if modalities != "text" else None
        self.text_tower = towers.text_tower if modalities != "image" else None
        self.no_image = nn.Parameter(0.02 * torch.randn(towers.embed_size))
        self.no_text = nn.Parameter(0.02 * torch.randn(towers.embed_size))
        # Each side on a scale of its own, lest the louder drown the other.
        self.image_norm = nn.LayerNorm(towers.embed_size)
        self.text_norm = nn.LayerNorm(towers.embed_size)
        self.head = nn.Sequential(
            nn.Linear(2 * towers.embed_size, hidden),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )

    def forward(
        self,
        image: Tensor | None,
        has_image: Tensor | None,
        tokens: Tensor | None,
        mask: Tensor | None,
        has_text: Tensor | None,
    ) -> Tensor:
        """Images and tokens as the towers take them; has_*: false where a row lacks that side.

        Returns scores (rows, classes). Only what `modalities` names has to be given.
        """
        pictured: Tensor = self.no_image
        worded: Tensor = self.no_text
        # Through `where` a stand-in has a gradient even if of zero: DDP waits for all of them.
        if self.image_tower is not None and has_image is not None:
            pictured = torch.where(has_image[:, None], self.image_tower(image), pictured)
        if self.text_tower and tokens is not None and mask is not None and has_text is not None:
            embedded = embedded_texts(self.text_tower, tokens, mask)
            worded = torch.where(has_text[:, None], embedded, worded)
        # In an export the number of rows is a symbol, which `len` would make a number.
        rows = next(side.shape[0] for side in (pictured, worded) if side.ndim == 2)
        sides = self.image_norm(pictured), self.text_norm(worded)
        scores: Tensor = self.head(torch.cat([side.expand(rows, -1) for side in sides], dim=1))
        return scores
