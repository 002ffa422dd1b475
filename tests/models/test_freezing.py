"""Which layers train, and that the others rest."""

import pytest
from torch import nn

from aiplat.errors import ConfigError
from aiplat.models.freezing import freeze, rest


class Tower(nn.Module):
    """An input, three layers with dropout, and an output."""

    def __init__(self) -> None:
        super().__init__()
        self.start = nn.Linear(2, 2)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)) for _ in range(3)
        )
        self.end = nn.Linear(2, 2)

    def frozen_from(self, layer: int | None) -> list[str]:
        """The names of the parts that neither learn nor drop anything."""
        frozen = freeze(self, list(self.layers), layer, after=(self.end,))
        self.train()
        rest(frozen)
        named = [("start", self.start), *self.layers.named_children(), ("end", self.end)]
        for _, part in named:
            learns = {parameter.requires_grad for parameter in part.parameters()}
            drops = {module.training for module in part.modules()}
            assert learns == drops
        return [name for name, part in named if not part.training]


@pytest.mark.parametrize(
    ("layer", "frozen"),
    [
        (0, []),
        (1, ["start", "0"]),
        (3, ["start", "0", "1", "2"]),
        (None, ["start", "0", "1", "2", "end"]),
    ],
)
def test_what_lies_below_the_layer_is_frozen(layer: int | None, frozen: list[str]) -> None:
    assert Tower().frozen_from(layer) == frozen


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_that_is_not_there_is_an_error(layer: int) -> None:
    with pytest.raises(ConfigError, match=rf"train_from_layer is {layer}, but Tower has 3 layers"):
        freeze(Tower(), list(Tower().layers), layer)
