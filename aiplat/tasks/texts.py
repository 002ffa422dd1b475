"""Texts to one batch of token ids.

A batch is padded to its own longest text, rounded up to four: on a CPU padding is computed like
anything else, and the lengths that remain are few enough for a compiled model.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from aiplat.datasets.versions import DatasetInfo
from aiplat.errors import ConfigError
from aiplat.models.tokenizer import TOKENIZER, open_tokenizer, save_tokenizer, train_tokenizer
from aiplat.tasks.columns import column_of_kind, misfit
from aiplat.tasks.fields import InputField

_PAD_TO_MULTIPLE = 4
# Texts that are kept encoded. A dataset whose texts all differ gains nothing and loses little.
_MAX_KNOWN = 20_000


class TakesTexts(Protocol):
    """A model that says how many different tokens it knows, and how many a text may have."""

    vocab_size: int
    max_tokens: int


class TextColumn:
    """A column of texts as a model takes them: tokens, cut off at the model's limit.

    name: null = the dataset's only text column. example: a text as requests may hold.
    """

    def __init__(
        self,
        model: TakesTexts,
        info: DatasetInfo,
        assets: Path,
        texts: Callable[[str], Iterable[str]] | None = None,
        name: str | None = None,
        example: str = "a short text",
    ) -> None:
        self.name = column_of_kind(info, "text", name)
        self.example = example
        self.max_tokens = model.max_tokens
        if not (assets / TOKENIZER).is_file():
            _fit_tokenizer(assets, texts, self.name, model.vocab_size)
        self.tokenizer = open_tokenizer(assets)
        num_tokens = self.tokenizer.get_vocab_size()
        if num_tokens > model.vocab_size:
            raise ConfigError(
                f"the tokenizer in {assets} has {num_tokens} tokens, the model {model.vocab_size}: "
                "it was fitted for another model; choose another run name"
            )
        self.pad_id = int((self.tokenizer.padding or {})["pad_id"])
        self.tokenizer.enable_truncation(self.max_tokens)
        self.tokenizer.no_padding()
        self.known: dict[str, list[int]] = {}

    def field(self, required: bool = True) -> InputField:
        """What a request says of it."""
        return InputField(self.name, "text", required, example=self.example, description="A text.")

    def encode(self, values: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Ids and mask (rows, tokens), the mask false on padding; and which rows have a text.

        Rows without a text are encoded as the empty one. Raises DataError.
        """
        for row, value in enumerate(values):
            if not (value is None or isinstance(value, str)):
                raise misfit(self.name, row, "a text", value)
        present = torch.tensor([value is not None for value in values])
        rows = self._ids([value or "" for value in values])
        longest = max(map(len, rows))
        # Rounding up must not go beyond the positions that the model has.
        width = min(-(-longest // _PAD_TO_MULTIPLE) * _PAD_TO_MULTIPLE, self.max_tokens)
        tokens = np.full((len(rows), width), self.pad_id)
        mask = np.zeros((len(rows), width), dtype=bool)
        for row, ids in enumerate(rows):
            tokens[row, : len(ids)] = ids
            mask[row, : len(ids)] = True
        # Attention over nothing at all is not a number.
        mask[:, 0] = True
        return torch.from_numpy(tokens), torch.from_numpy(mask), present

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text. Questions and captions repeat, so those seen before are kept."""
        found = {text: self.known.get(text) for text in texts}
        new = [text for text, ids in found.items() if ids is None]
        encoded = [text.ids for text in self.tokenizer.encode_batch_fast(new)]
        read = dict(zip(new, encoded, strict=True))
        if len(self.known) + len(read) <= _MAX_KNOWN:
            self.known.update(read)
        return [found[text] or read[text] for text in texts]


def _fit_tokenizer(
    assets: Path, texts: Callable[[str], Iterable[str]] | None, column: str, vocab_size: int
) -> None:
    if texts is None:
        raise ConfigError(
            f"{assets} has no {TOKENIZER}, and there are no texts to fit one to: "
            "the assets of the model version are incomplete"
        )
    save_tokenizer(train_tokenizer(texts(column), vocab_size), assets)
