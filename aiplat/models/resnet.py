"""Residual networks for image classification (He et al. 2015), as torchvision builds them."""

from pathlib import Path
from typing import Literal
from urllib.error import URLError

from torch import Tensor, nn
from torchvision import models

from aiplat.errors import ConfigError
from aiplat.models.pixels import IMAGENET_MEAN, IMAGENET_STD, Standardise
from aiplat.models.weights import State, load_state, read_state


class ResNet(nn.Module):
    """Class scores of images; its head has one output a class, whatever the weights had.

    weights: null, a torchvision name (`IMAGENET1K_V2`, fetched once), a .safetensors or .pt file.
    stem: `small` keeps the detail of images below about 100 pixels: a 3x3 convolution of stride 2
        in place of the 7x7 one and its pooling, at four times the cost per image.
    """

    def __init__(
        self,
        num_classes: int,
        depth: int = 50,
        image_size: int = 224,
        weights: str | None = None,
        stem: Literal["imagenet", "small"] = "imagenet",
        load_weights: bool = True,
    ) -> None:
        super().__init__()
        name = f"resnet{depth}"
        if name not in models.list_models(module=models):
            raise ConfigError(f"model.depth is {depth}; torchvision has 18, 34, 50, 101 and 152")
        self.image_size = image_size
        self.standardise = Standardise(IMAGENET_MEAN, IMAGENET_STD)
        self.network = models.get_model(name, num_classes=num_classes)
        if stem == "small":
            self.network.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
            self.network.maxpool = nn.Identity()
        if weights is not None and load_weights:
            state = _state(name, weights)
            given, own = state.get("conv1.weight"), self.network.conv1.weight
            if stem == "small" and given is not None and given.shape != own.shape:
                # Published ones are made for the large stem: ours starts fresh.
                state["conv1.weight"] = own.detach()
            load_state(self.network, state, weights, head="fc.")

    def forward(self, image: Tensor) -> Tensor:
        """image: uint8 (rows, 3, height, width). Returns scores (rows, classes)."""
        scores: Tensor = self.network(self.standardise(image))
        return scores


def _state(name: str, weights: str) -> State:
    if "/" in weights or weights.endswith((".safetensors", ".pt", ".pth")):
        return read_state(Path(weights).expanduser())
    known = models.get_model_weights(name)
    if weights not in known.__members__:
        raise ConfigError(
            f"model.weights: torchvision has no weights {weights!r} for {name} "
            f"(it has: {', '.join(known.__members__)}); a file is given by its path"
        )
    try:
        state: State = known[weights].get_state_dict(
            progress=False, check_hash=True, weights_only=True
        )
    except (URLError, OSError) as error:
        raise ConfigError(
            f"model.weights: {weights} of {name} could not be fetched ({error}); without a "
            "connection give model.weights the path of a .safetensors or .pt file instead"
        ) from error
    return state
