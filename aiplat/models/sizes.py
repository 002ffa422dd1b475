"""How large networks from scratch are; no torch, so that a configuration is checked in no time."""

from dataclasses import dataclass

from aiplat.errors import ConfigError


@dataclass(frozen=True)
class TransformerSizes:
    """A text transformer. vocab_size: at most so many tokens its tokenizer may have."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    vocab_size: int = 1024
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check_heads(self.width, self.heads)


@dataclass(frozen=True)
class ClipSizes:
    """CLIP towers; width, layers and heads hold for both of them."""

    image_size: int = 64
    patch_size: int = 8
    embed_size: int = 128
    width: int = 128
    layers: int = 4
    heads: int = 4
    vocab_size: int = 1024
    max_tokens: int = 32

    def __post_init__(self) -> None:
        _check_heads(self.width, self.heads)


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise ConfigError(
            f"a transformer of width {width} cannot have {heads} equal heads: "
            "choose a width that is a multiple of heads"
        )
