"""Texts become tokens: the tokenizer made once, batches no longer than they must be."""

from pathlib import Path

import pytest
import torch

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import ConfigError, DataError
from aiplat.models.tokenizer import TOKENIZER
from aiplat.tasks.texts import TextColumn

INFO = DatasetInfo((Column("question", "text"),))
TEXTS = ["what color is the triangle?", "is there a blue shape?"] * 3


class Takes:
    """A model of short texts."""

    def __init__(self, vocab_size: int = 300, max_tokens: int = 20) -> None:
        self.vocab_size = vocab_size
        self.max_tokens = max_tokens


def column(assets: Path, model: Takes | None = None) -> TextColumn:
    return TextColumn(model or Takes(), INFO, assets, texts=lambda _: TEXTS)


def test_the_tokenizer_is_fitted_once_and_read_from_the_assets_after(tmp_path: Path) -> None:
    first = column(tmp_path)
    saved = (tmp_path / TOKENIZER).read_bytes()
    again = TextColumn(Takes(), INFO, tmp_path, texts=None)
    assert (tmp_path / TOKENIZER).read_bytes() == saved
    for one, other in zip(first.encode(TEXTS), again.encode(TEXTS), strict=True):
        assert torch.equal(one, other)


def test_without_a_tokenizer_and_texts_the_assets_are_said_to_be_incomplete(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"has no {TOKENIZER}, and there are no texts"):
        TextColumn(Takes(), INFO, tmp_path, texts=None)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path) -> None:
    column(tmp_path)
    with pytest.raises(ConfigError, match="tokens, the model 270"):
        column(tmp_path, Takes(vocab_size=270))


def test_a_batch_is_padded_to_its_longest_rounded_up_to_four(tmp_path: Path) -> None:
    texts = column(tmp_path, Takes(vocab_size=400))
    tokens, mask, _ = texts.encode(["is there a blue shape?", "is"])
    assert tokens.shape == (2, 8)
    assert mask.sum(dim=1).tolist() == [8, 3]
    assert tokens[1, 3:].tolist() == [0] * 5


def test_a_long_text_is_cut_off_at_the_models_limit(tmp_path: Path) -> None:
    tokens, mask, _ = column(tmp_path).encode(["shape " * 100, "is"])
    assert tokens.shape == (2, 20)
    assert int(mask[0].sum()) == 20
    # The end is still marked as one.
    assert tokens[0, -1] == tokens[1, mask[1]][-1]


def test_a_missing_text_and_an_empty_one_have_something_to_attend_to(tmp_path: Path) -> None:
    _, mask, present = column(tmp_path).encode([None, "", "is"])
    assert present.tolist() == [False, True, True]
    assert bool(mask.any(dim=1).all())


def test_what_is_no_text_is_an_error_naming_column_and_row(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"column 'question', row 1: expected a text, got 3 \(int\)"
    ):
        column(tmp_path).encode(["is", 3])
