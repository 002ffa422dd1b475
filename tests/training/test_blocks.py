import copy

import pytest
import torch
from torch import nn
from torchvision import models

from aiplat.errors import ConfigError
from aiplat.models.sizes import TransformerSizes
from aiplat.models.transformer import TextTransformer
from aiplat.training.blocks import DECLARED, blocks_of, recompute_activations, without_statistics


def kinds(model: nn.Module) -> list[str]:
    return [type(block).__name__ for block in blocks_of(model)]


def test_the_layers_of_a_transformer_are_its_blocks() -> None:
    sizes = TransformerSizes(vocab_size=10, width=8, heads=2, layers=3)
    assert kinds(TextTransformer(sizes, max_tokens=4)) == ["Block"] * 3


def test_the_layers_of_a_pretrained_family_are_its_blocks() -> None:
    from transformers import BertConfig, BertModel

    sizes = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 16}
    config = BertConfig(vocab_size=10, num_hidden_layers=3, **sizes)
    assert kinds(BertModel(config)) == ["BertLayer"] * 3


def test_the_residual_parts_of_a_convolutional_network_are_its_blocks() -> None:
    assert kinds(models.resnet18()) == ["BasicBlock"] * 8


def test_lists_of_plain_layers_are_no_blocks() -> None:
    embeddings = nn.ModuleList([nn.Embedding(3, 2), nn.Embedding(4, 2)])
    assert not blocks_of(nn.Sequential(nn.Linear(2, 2), embeddings, nn.ReLU()))


def test_what_lies_within_a_block_is_no_block_of_its_own() -> None:
    expert = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    layer = nn.ModuleDict({"experts": nn.ModuleList([expert, copy.deepcopy(expert)])})
    layers = nn.ModuleList([layer, copy.deepcopy(layer)])
    assert blocks_of(nn.ModuleDict({"layers": layers})) == list(layers)


def test_a_model_may_name_its_blocks() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    setattr(model, DECLARED, (model[1],))
    assert blocks_of(nn.Sequential(model)) == [model[1]]


def forgetful() -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)) for _ in range(2)]
    return nn.Sequential(*blocks)


def test_computing_again_changes_no_gradient_and_no_statistics() -> None:
    kept, again = forgetful(), forgetful()
    recompute_activations(again)
    rows = torch.randn(8, 4)
    for model in (kept, again):
        torch.manual_seed(1)
        model(rows).square().sum().backward()
    for one, other in zip(kept.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)  # type: ignore[arg-type]
    for name, value in kept.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_computing_again_keeps_fewer_values() -> None:
    def num_kept(model: nn.Module) -> int:
        kept: list[int] = []

        def keep(value: torch.Tensor) -> torch.Tensor:
            kept.append(value.numel())
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            model(torch.randn(512, 4))
        return sum(kept)

    kept, again = forgetful(), forgetful()
    recompute_activations(again)
    assert num_kept(again) < 0.5 * num_kept(kept)


def test_a_model_without_blocks_cannot_compute_them_again() -> None:
    with pytest.raises(ConfigError, match="Linear has no blocks to compute again"):
        recompute_activations(nn.Linear(2, 2))


def test_without_statistics_leaves_no_trace() -> None:
    norm = nn.BatchNorm1d(2)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    with without_statistics(norm):
        norm(torch.randn(4, 2))
    assert all(torch.equal(value, before[name]) for name, value in norm.state_dict().items())
    assert norm.momentum == 0.1
