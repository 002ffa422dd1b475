"""One space: unit embeddings, and a scale that cannot run away."""

import math

import pytest
import torch

from aiplat.models.paired import PairedTowers
from aiplat.models.sizes import TransformerSizes
from aiplat.models.towers import ConvTowers


def pair() -> PairedTowers:
    towers = ConvTowers(16, embed_size=8, channels=(4, 8), text=TransformerSizes(16, 1, 2, 50))
    return PairedTowers(towers, temperature=0.1)


def test_embeddings_have_unit_length_and_the_scale_is_one_over_the_temperature() -> None:
    tokens = torch.ones(2, 5, dtype=torch.int64)
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    pictured, worded, scale = pair()(image, tokens, tokens > 0)
    assert pictured is not None
    assert worded is not None
    torch.testing.assert_close(pictured.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(worded.norm(dim=1), torch.ones(2))
    assert scale.item() == pytest.approx(10)


def test_what_is_not_given_is_not_embedded_and_the_scale_is_bounded() -> None:
    model = pair()
    with torch.no_grad():
        model.log_scale.fill_(math.log(1e6))
    tokens = torch.ones(1, 2, dtype=torch.int64)
    pictured, worded, scale = model(tokens=tokens, mask=tokens > 0)
    assert pictured is None
    assert worded is not None
    assert scale.item() == 100
