"""CLIP's own towers (Radford et al. 2021) as transformers has them, pretrained or from scratch."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from aiplat.models.freezing import freeze, rest
from aiplat.models.pixels import Standardise
from aiplat.models.pretrained import architecture, keep_tokenizer, load_pretrained
from aiplat.models.sizes import ClipSizes
from aiplat.models.tokenizer import END_ID, PAD_ID, START_ID

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class ClipTowers:
    """A vision transformer and a causal text transformer.

    pretrained: a local folder, `package:name/folder`, or a hub id, which then decides every size;
        null = from scratch with `sizes`.
    train_from_layer: in both towers, 0 = everything trains, k = the layers from the k-th on and
        the projection, null = nothing.
    """

    def __init__(
        self,
        assets: Path,
        pretrained: str | None = None,
        train_from_layer: int | None = 0,
        sizes: ClipSizes | None = None,
        load_weights: bool = True,
    ) -> None:
        from transformers import CLIPModel

        if pretrained is None:
            config = _from_scratch(sizes or ClipSizes())
        else:
            config = architecture(pretrained, assets, model_type="clip")
            keep_tokenizer(pretrained, assets)
        both: Any = (
            load_pretrained(CLIPModel, pretrained, config)
            if pretrained is not None and load_weights
            else CLIPModel(config)
        )
        self.image_size: int = config.vision_config.image_size
        self.embed_size: int = config.projection_dim
        self.vocab_size: int = config.text_config.vocab_size
        self.max_tokens: int = config.text_config.max_position_embeddings
        self.image_tower = ClipImageTower(both, train_from_layer)
        self.text_tower = ClipTextTower(both, train_from_layer)


class ClipImageTower(nn.Module):
    """CLIP's vision transformer with its projection."""

    def __init__(self, both: Any, train_from_layer: int | None) -> None:
        super().__init__()
        self.standardise = Standardise(CLIP_MEAN, CLIP_STD)
        self.network = both.vision_model
        self.projection = both.visual_projection
        self.frozen = freeze(
            self,
            self.network.encoder.layers,
            train_from_layer,
            after=(self.network.post_layernorm, self.projection),
        )

    def forward(self, image: Tensor) -> Tensor:
        """image: uint8 (rows, 3, image_size, image_size)."""
        states = self.network(pixel_values=self.standardise(image))
        projected: Tensor = self.projection(states.pooler_output)
        return projected

    def train(self, mode: bool = True) -> "ClipImageTower":
        """Train, but for what is frozen."""
        super().train(mode)
        rest(self.frozen)
        return self


class ClipTextTower(nn.Module):
    """CLIP's text transformer with its projection."""

    def __init__(self, both: Any, train_from_layer: int | None) -> None:
        super().__init__()
        self.network = both.text_model
        self.projection = both.text_projection
        self.frozen = freeze(
            self,
            self.network.encoder.layers,
            train_from_layer,
            after=(self.network.final_layer_norm, self.projection),
        )

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens: ids (rows, tokens); mask: false on padding."""
        states = self.network(input_ids=tokens, attention_mask=mask.long())
        projected: Tensor = self.projection(states.pooler_output)
        return projected

    def train(self, mode: bool = True) -> "ClipTextTower":
        """Train, but for what is frozen."""
        super().train(mode)
        rest(self.frozen)
        return self


def _from_scratch(sizes: ClipSizes) -> Any:
    from transformers import CLIPConfig

    shared = {
        "hidden_size": sizes.width,
        "intermediate_size": 4 * sizes.width,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "projection_dim": sizes.embed_size,
    }
    vision = {**shared, "image_size": sizes.image_size, "patch_size": sizes.patch_size}
    text = {
        **shared,
        "vocab_size": sizes.vocab_size,
        "max_position_embeddings": sizes.max_tokens,
        "pad_token_id": PAD_ID,
        "bos_token_id": START_ID,
        "eos_token_id": END_ID,
    }
    return CLIPConfig(vision_config=vision, text_config=text, projection_dim=sizes.embed_size)
