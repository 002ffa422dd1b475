"""The small towers: each row for itself, so that workers can share a batch out."""

import torch

from aiplat.models.sizes import TransformerSizes
from aiplat.models.towers import ConvTowers


def towers() -> ConvTowers:
    torch.manual_seed(0)
    return ConvTowers(16, embed_size=8, channels=(4, 8), text=TransformerSizes(16, 1, 2, 50))


def test_an_embedding_depends_on_nothing_but_its_row() -> None:
    both = towers()
    image = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    tokens = torch.randint(1, 50, (4, 5))
    mask = torch.ones_like(tokens, dtype=torch.bool)
    # In training mode: there is no batch norm, and no dropout unless asked for.
    together = both.image_tower(image), both.text_tower(tokens, mask)
    alone = both.image_tower(image[1:2]), both.text_tower(tokens[1:2], mask[1:2])
    for rows, row in zip(together, alone, strict=True):
        torch.testing.assert_close(rows[1:2], row)


def test_both_towers_embed_at_the_size_they_say() -> None:
    both = towers()
    image = torch.zeros(2, 3, 20, 20, dtype=torch.uint8)
    tokens = torch.ones(2, 5, dtype=torch.int64)
    assert both.image_tower(image).shape == (2, both.embed_size)
    assert both.text_tower(tokens, tokens > 0).shape == (2, both.embed_size)
    assert (both.vocab_size, both.max_tokens) == (50, 32)
