"""CLIP's towers from scratch and partly frozen; test_pretrained has the published ones."""

from pathlib import Path

import pytest
import torch
from torch import nn

from aiplat.models.clip import ClipTowers
from aiplat.models.sizes import ClipSizes

SIZES = ClipSizes(16, 8, 12, 16, 3, 2, 300, 8)


def trained(tower: nn.Module) -> set[str]:
    return {name for name, parameter in tower.named_parameters() if parameter.requires_grad}


def test_text_is_pooled_at_its_end_whatever_pads_it(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tower = ClipTowers(tmp_path, sizes=SIZES).text_tower.eval()
    tokens = torch.tensor([[2, 40, 41, 1]])
    padded = torch.tensor([[2, 40, 41, 1, 0, 0]])
    torch.testing.assert_close(tower(padded, padded != 0), tower(tokens, tokens != 0))
    other = torch.tensor([[2, 40, 42, 1]])
    assert not torch.allclose(tower(other, other != 0), tower(tokens, tokens != 0), atol=1e-4)


@pytest.mark.parametrize("layer", [0, 2, None])
def test_layers_train_from_the_chosen_one_on(tmp_path: Path, layer: int | None) -> None:
    towers = ClipTowers(tmp_path, train_from_layer=layer, sizes=SIZES)
    for tower in (towers.image_tower, towers.text_tower):
        names = trained(tower)
        assert any("layers.0." in name for name in names) == (layer == 0)
        assert any("layers.2." in name for name in names) == (layer is not None)
        assert ("projection.weight" in names) == (layer is not None)
        tower.train()
        assert tower.training == (layer is not None)


def test_every_weight_of_a_tower_takes_part(tmp_path: Path) -> None:
    towers = ClipTowers(tmp_path, sizes=SIZES)
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    tokens = torch.tensor([[2, 40, 41, 1], [2, 40, 1, 0]])
    loss = towers.image_tower(image).sum() + towers.text_tower(tokens, tokens != 0).sum()
    loss.backward()
    for tower in (towers.image_tower, towers.text_tower):
        idle = [name for name, parameter in tower.named_parameters() if parameter.grad is None]
        assert idle == []
