"""Raw pixels become what torchvision's own transform makes of them."""

import torch
from torchvision.transforms.v2 import functional

from aiplat.models.pixels import IMAGENET_MEAN, IMAGENET_STD, Standardise


def test_pixels_are_standardised_as_torchvision_does() -> None:
    pixels = torch.randint(0, 256, (2, 3, 5, 4), dtype=torch.uint8)
    expected = functional.normalize(pixels / 255, list(IMAGENET_MEAN), list(IMAGENET_STD))
    torch.testing.assert_close(Standardise(IMAGENET_MEAN, IMAGENET_STD)(pixels), expected)


def test_channels_stay_last_and_constants_out_of_the_weights() -> None:
    layer = Standardise(IMAGENET_MEAN, IMAGENET_STD)
    pixels = torch.zeros(2, 8, 8, 3, dtype=torch.uint8).permute(0, 3, 1, 2)
    assert layer(pixels).is_contiguous(memory_format=torch.channels_last)
    assert layer.state_dict() == {}
