"""Residual networks: where their weights come from, and what they make of small images."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torch import Tensor

from aiplat.errors import ConfigError
from aiplat.models.resnet import ResNet


def pixels(size: int) -> Tensor:
    return torch.randint(0, 256, (2, 3, size, size), dtype=torch.uint8)


def test_weights_of_other_classes_give_the_same_features_and_a_fresh_head(tmp_path: Path) -> None:
    source = ResNet(10, depth=18).eval()
    torch.save(source.network.state_dict(), tmp_path / "ten.pt")
    model = ResNet(3, depth=18, weights=str(tmp_path / "ten.pt")).eval()
    assert model(pixels(32)).shape == (2, 3)
    assert torch.equal(model.network.layer4[0].conv1.weight, source.network.layer4[0].conv1.weight)


def test_weights_are_left_unread_where_others_come_after() -> None:
    ResNet(3, depth=18, weights="no/such/file.pt", load_weights=False)


def test_the_small_stem_keeps_twice_the_detail_and_takes_weights_too(tmp_path: Path) -> None:
    source = ResNet(3, depth=18)
    torch.save(source.network.state_dict(), tmp_path / "three.pt")
    small = ResNet(3, depth=18, stem="small", weights=str(tmp_path / "three.pt"))
    seen: list[int] = []
    for model in (source, small):
        model.network.layer1.register_forward_hook(lambda *call: seen.append(call[2].shape[-1]))
        model(pixels(32))
    assert seen == [8, 16]
    assert torch.equal(small.network.layer1[0].conv1.weight, source.network.layer1[0].conv1.weight)


def test_small_stems_are_handed_on_and_old_files_lack_a_counter(tmp_path: Path) -> None:
    source = ResNet(3, depth=18, stem="small")
    kept = source.network.state_dict().items()
    old = {name: value for name, value in kept if not name.endswith("num_batches_tracked")}
    torch.save(old, tmp_path / "three.pt")
    model = ResNet(3, depth=18, stem="small", weights=str(tmp_path / "three.pt"))
    assert torch.equal(model.network.conv1.weight, source.network.conv1.weight)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="IMAGENET1K_V1"):
        ResNet(3, depth=18, weights="IMAGENET")
    with pytest.raises(ConfigError, match="19; torchvision has 18"):
        ResNet(3, depth=19)


def test_weights_out_of_reach_say_how_to_give_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_args: object, **_options: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(ConfigError, match=r"IMAGENET1K_V1 of resnet18 .*path of a \.safetensors"):
        ResNet(3, depth=18, weights="IMAGENET1K_V1")
