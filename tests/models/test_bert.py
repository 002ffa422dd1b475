"""A BERT-family encoder: texts of unlike lengths in one batch."""

from pathlib import Path

import torch

from aiplat.models.bert import Bert
from aiplat.models.sizes import TransformerSizes

SIZES = TransformerSizes(width=16, layers=2, heads=2, vocab_size=50, dropout=0.0)


def test_texts_have_the_states_they_have_alone_whatever_is_beside_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    encoder = Bert(tmp_path, max_tokens=24, sizes=SIZES)
    lengths = torch.tensor([24, 1, 7, 0, 13, 2, 24, 8, 5, 19])
    mask = torch.arange(24) < lengths[:, None]
    tokens = torch.randint(3, 50, (len(lengths), 24)) * mask
    states = encoder(tokens, mask)
    assert states.shape == (10, 24, 16)
    for row, length in enumerate(lengths.tolist()):
        if length:
            alone = encoder(tokens[row : row + 1, :length], mask[row : row + 1, :length])
            assert torch.allclose(states[row, :length], alone, atol=1e-5)
    assert states.isfinite().all()
    states[mask].sum().backward()
    gradients = [weight.grad for weight in encoder.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)


def test_tokens_behind_padding_are_not_cut_off(tmp_path: Path) -> None:
    encoder = Bert(tmp_path, max_tokens=8, sizes=SIZES).eval()
    mask = torch.arange(8) >= torch.arange(8)[:, None]
    tokens = torch.randint(3, 50, (8, 8)) * mask
    expected = torch.cat([encoder(tokens[row : row + 1], mask[row : row + 1]) for row in range(8)])
    assert torch.allclose(encoder(tokens, mask)[mask], expected[mask], atol=1e-5)
