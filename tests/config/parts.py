"""Things for configurations of the tests to name, and roots that describe them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

from aiplat.config.targets import node
from aiplat.errors import ConfigError

NOT_CALLABLE = 3


class Tower:
    """A part of a model."""

    def __init__(self, width: int, assets: Path | None = None) -> None:
        self.width = width
        self.assets = assets


class Model:
    """Made of towers; the platform knows the number of classes."""

    def __init__(
        self,
        num_classes: int,
        tower: Tower,
        *,
        dropout: float = 0.0,
        sizes: tuple[int, ...] = (1,),
        others: Sequence[Tower] = (),
        named: Mapping[str, Tower] | None = None,
        kind: Literal["small", "large"] = "small",
    ) -> None:
        self.num_classes = num_classes
        self.tower = tower
        self.dropout = dropout
        self.sizes = sizes
        self.others = others
        self.named = named or {}
        self.kind = kind


@dataclass
class Record:
    """Its constructor is made by a decorator."""

    size: int


@cache
def decorated(size: int) -> int:
    return size


def anything(first: int, **others: Any) -> dict[str, Any]:
    return {"first": first, **others}


def fails(size: int) -> None:
    raise ConfigError(f"size is {size}, and no size would do")


@dataclass
class LoopSection:
    """A typed section.

    max_epochs: passes over the data, counted
        from one.
    precision: of the arithmetic.
    """

    max_epochs: int = 10
    precision: Literal["fp32", "bf16"] = "fp32"
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        if self.max_epochs < 1:
            raise ConfigError(f"max_epochs is {self.max_epochs}, expected at least 1")


@dataclass
class DataSection:
    """A section with a required key."""

    name: str
    batch_size: int = 256


@dataclass(kw_only=True)
class Root:
    """The root of the tests."""

    name: str
    seed: int = 0
    tags: list[str] = field(default_factory=list)
    data: DataSection
    loop: LoopSection = field(default_factory=LoopSection)
    extra: LoopSection | None = None
    model: dict[str, Any] = node("num_classes", "assets")
    schedule: dict[str, Any] | None = node("optimizer", optional=True)


@dataclass(kw_only=True)
class OtherRoot:
    """A root whose plain key has the name of a group."""

    model: str
    seed: int = 0
