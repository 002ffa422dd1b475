"""The small text encoder: padding is nothing to it, order is something."""

import pytest
import torch

from aiplat.errors import ConfigError
from aiplat.models.sizes import ClipSizes, TransformerSizes
from aiplat.models.transformer import TextTransformer, mean_over_tokens


def encoder() -> TextTransformer:
    torch.manual_seed(0)
    return TextTransformer(TransformerSizes(width=16, heads=2, vocab_size=50), max_tokens=8).eval()


def test_padding_does_not_change_the_embedding() -> None:
    tokens = torch.tensor([[5, 6, 7]])
    padded = torch.tensor([[5, 6, 7, 0, 0]])
    alone = encoder()(tokens, tokens != 0)
    torch.testing.assert_close(encoder()(padded, padded != 0), alone)


def test_the_order_of_tokens_changes_the_embedding() -> None:
    tokens = torch.tensor([[5, 6, 7], [7, 6, 5]])
    there, back = encoder()(tokens, tokens != 0)
    assert not torch.allclose(there, back, atol=1e-3)


def test_the_mean_is_over_tokens_only() -> None:
    states = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert mean_over_tokens(states, torch.tensor([[True, True, False]])).item() == 2


@pytest.mark.parametrize("sizes", [TransformerSizes, ClipSizes])
def test_heads_that_do_not_divide_the_width_are_refused(sizes: type) -> None:
    with pytest.raises(ConfigError, match="width 128 cannot have 3 equal heads"):
        sizes(heads=3)
