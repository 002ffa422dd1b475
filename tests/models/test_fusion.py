"""Both sides into one head: what is missing cannot matter, and every weight takes part."""

from typing import Literal

import pytest
import torch
from torch import Tensor

from aiplat.models.fusion import Fusion
from aiplat.models.sizes import TransformerSizes
from aiplat.models.towers import ConvTowers

Modalities = Literal["both", "image", "text"]
YES, NO = torch.tensor([True, True]), torch.tensor([True, False])


def fusion(modalities: Modalities = "both") -> Fusion:
    torch.manual_seed(0)
    towers = ConvTowers(16, embed_size=8, channels=(4, 8), text=TransformerSizes(16, 1, 2, 50))
    return Fusion(towers, num_classes=3, modalities=modalities, hidden=8)


def images(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8, generator=generator)


def tokens(seed: int) -> Tensor:
    return torch.randint(1, 50, (2, 5), generator=torch.Generator().manual_seed(seed))


def scores(
    model: Fusion, image: Tensor, text: Tensor, has_image: Tensor, has_text: Tensor
) -> Tensor:
    result: Tensor = model(image, has_image, text, text > 0, has_text)
    return result


def test_a_missing_side_cannot_change_the_scores() -> None:
    model = fusion()
    whole = scores(model, images(0), tokens(0), YES, YES)
    other_image = scores(model, images(1), tokens(0), NO, YES)
    same_image = scores(model, images(0), tokens(0), NO, YES)
    assert torch.equal(other_image[1], same_image[1])
    assert not torch.allclose(other_image[0], same_image[0])
    other_text = scores(model, images(0), tokens(1), YES, NO)
    same_text = scores(model, images(0), tokens(0), YES, NO)
    assert torch.equal(other_text[1], same_text[1])
    assert not torch.allclose(whole[1], same_text[1])


@pytest.mark.parametrize(
    ("modalities", "unused"), [("image", "text_tower"), ("text", "image_tower")]
)
def test_one_side_alone_leaves_the_other_tower_out(modalities: Modalities, unused: str) -> None:
    model = fusion(modalities)
    assert not any(name.startswith(unused) for name in model.state_dict())
    first = scores(model, images(0), tokens(0), YES, YES)
    other = {"image": (images(0), tokens(1)), "text": (images(1), tokens(0))}[modalities]
    assert torch.equal(scores(model, *other, YES, YES), first)


@pytest.mark.parametrize("modalities", ["both", "image", "text"])
def test_every_weight_takes_part_even_where_nothing_is_missing(modalities: Modalities) -> None:
    model = fusion(modalities)
    scores(model, images(0), tokens(0), YES, YES).sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
