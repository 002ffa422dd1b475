"""BERT-family text classifiers (Devlin et al. 2018): an encoder, pretrained or not, and a head."""

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from aiplat.errors import ConfigError
from aiplat.models.freezing import freeze, rest
from aiplat.models.pretrained import architecture, keep_tokenizer, load_pretrained
from aiplat.models.sizes import TransformerSizes
from aiplat.models.tokenizer import PAD_ID
from aiplat.models.transformer import mean_over_tokens

# Few enough that lengths are alike, enough for a core to be busy.
_ROWS_TOGETHER = 4


class Bert(nn.Module):
    """Tokens to their states, by any encoder that transformers loads as an AutoModel.

    pretrained: a local folder, `package:name/folder` or a hub id; null = from scratch by `sizes`.
    train_from_layer: 0 = everything trains, k = the layers from the k-th on, null = nothing.
    """

    def __init__(
        self,
        assets: Path,
        pretrained: str | None = None,
        train_from_layer: int | None = 0,
        max_tokens: int = 128,
        sizes: TransformerSizes | None = None,
        load_weights: bool = True,
    ) -> None:
        super().__init__()
        from transformers import AutoModel

        if pretrained is None:
            config = _from_scratch(sizes or TransformerSizes(), max_tokens)
        else:
            config = architecture(pretrained, assets)
            keep_tokenizer(pretrained, assets)
        longest = getattr(config, "max_position_embeddings", max_tokens)
        if max_tokens > longest:
            raise ConfigError(
                f"max_tokens of the model is {max_tokens}, but it has positions for {longest}"
            )
        self.max_tokens = max_tokens
        self.vocab_size: int = config.vocab_size
        self.width: int = config.hidden_size
        self.network: Any = (
            load_pretrained(AutoModel, pretrained, config)
            if pretrained is not None and load_weights
            else AutoModel.from_config(config)
        )
        if hasattr(self.network, "pooler"):
            # We pool ourselves; left in, its weights would wait for gradients that never come.
            self.network.pooler = None
        self.frozen = freeze(self, _layers(self.network, config), train_from_layer)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens: ids (rows, tokens); mask: false on padding. Returns (rows, tokens, width)."""
        is_exported = torch.compiler.is_compiling()
        if not is_exported and tokens.device.type == "cpu" and len(tokens) > _ROWS_TOGETHER:
            return self._by_length(tokens, mask)
        states: Tensor = self.network(input_ids=tokens, attention_mask=mask.long())[0]
        return states

    def _by_length(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """A few texts at a time, of like length: a CPU computes padding like anything else."""
        # Up to the last token: a tokenizer may pad on the left.
        lengths = (mask * torch.arange(1, mask.shape[1] + 1)).amax(1)
        order = lengths.argsort()
        states = []
        for rows in order.split(_ROWS_TOGETHER):
            longest = max(1, int(lengths[rows].max()))
            part = mask[rows, :longest].long()
            found = self.network(input_ids=tokens[rows, :longest], attention_mask=part)[0]
            states.append(nn.functional.pad(found, (0, 0, 0, tokens.shape[1] - longest)))
        return torch.cat(states)[order.argsort()]

    def train(self, mode: bool = True) -> "Bert":
        """Train, but for what is frozen."""
        super().train(mode)
        rest(self.frozen)
        return self


class TextClassifier(nn.Module):
    """Class scores of a text, from the mean of its tokens' states or from the first token's."""

    def __init__(
        self,
        encoder: Bert,
        num_classes: int,
        pooling: Literal["mean", "first"] = "mean",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.vocab_size = encoder.vocab_size
        self.max_tokens = encoder.max_tokens
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.width, num_classes)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens: ids (rows, tokens); mask: false on padding. Returns scores (rows, classes)."""
        states = self.encoder(tokens, mask)
        pooled = mean_over_tokens(states, mask) if self.pooling == "mean" else states[:, 0]
        scores: Tensor = self.head(self.dropout(pooled))
        return scores


def _from_scratch(sizes: TransformerSizes, max_tokens: int) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=sizes.vocab_size,
        hidden_size=sizes.width,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=4 * sizes.width,
        hidden_dropout_prob=sizes.dropout,
        attention_probs_dropout_prob=sizes.dropout,
        max_position_embeddings=max_tokens,
        pad_token_id=PAD_ID,
    )


def _layers(network: Any, config: Any) -> list[nn.Module]:
    """The blocks of an encoder, which each family keeps under another name."""
    for part in network.modules():
        if isinstance(part, nn.ModuleList) and len(part) == config.num_hidden_layers:
            return list(part)
    raise ConfigError(
        f"model.pretrained: a {config.model_type!r} model has no list of layers to freeze by: "
        "choose an encoder of the BERT family"
    )
