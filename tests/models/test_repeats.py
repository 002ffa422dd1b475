"""Going through a tower once a text must change no embedding and no gradient."""

import pytest
import torch
from torch import Tensor, nn

from aiplat.models.repeats import embedded_texts
from aiplat.models.sizes import TransformerSizes
from aiplat.models.towers import TextTower


class Counting(nn.Module):
    def __init__(self, tower: nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.num_rows = 0

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        self.num_rows += len(tokens)
        embedded: Tensor = self.tower(tokens, mask)
        return embedded


def tower() -> TextTower:
    torch.manual_seed(0)
    return TextTower(TransformerSizes(16, 1, 2, 50), max_tokens=6, embed_size=8)


def texts(*kinds: int) -> tuple[Tensor, Tensor]:
    """One row a kind, rows of a kind alike; kinds 8 and 9 differ in their mask alone."""
    lengths = torch.tensor([2 if kind == 9 else 5 for kind in kinds])
    mask = torch.arange(6) < lengths[:, None]
    tokens = torch.tensor([[8 if kind == 9 else kind] * 6 for kind in kinds])
    return tokens, mask


@pytest.mark.parametrize(
    ("kinds", "num_computed"),
    [((1, 2, 1, 1, 8, 2), 3), ((8, 9, 8, 9), 2), ((1, 2, 3), 3), ((4,), 1)],
    ids=["repeats", "other masks", "no repeats", "one row"],
)
def test_repeated_texts_are_computed_once_and_embedded_all_the_same(
    kinds: tuple[int, ...], num_computed: int
) -> None:
    tokens, mask = texts(*kinds)
    plain, counting = tower(), Counting(tower())
    weight = torch.arange(len(kinds) * 8.0).view(-1, 8).sin()
    expected, embedded = plain(tokens, mask), embedded_texts(counting, tokens, mask)
    (expected * weight).sum().backward()
    (embedded * weight).sum().backward()
    assert counting.num_rows == num_computed
    assert torch.allclose(embedded, expected, atol=1e-6)
    for mine, theirs in zip(counting.tower.parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        assert torch.allclose(mine.grad, theirs.grad, atol=1e-5)
