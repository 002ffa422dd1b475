"""The tokenizer of the assets: the same for the same texts, and nothing is unknown to it."""

from pathlib import Path

import pytest

from aiplat.errors import ConfigError
from aiplat.models.tokenizer import PAD_ID, open_tokenizer, save_tokenizer, train_tokenizer

TEXTS = ["what color is the triangle?", "is there a blue shape?", "Is There A Circle?"] * 4


def test_the_same_texts_make_the_same_tokenizer_in_any_order() -> None:
    first, second = train_tokenizer(TEXTS, 320), train_tokenizer(reversed(TEXTS), 320)
    assert first.to_str() == second.to_str()


def test_frequent_words_become_one_token_each_whatever_their_case() -> None:
    tokenizer = train_tokenizer(TEXTS, 400)
    ids = tokenizer.encode("Is There a BLUE shape?").ids
    assert len(ids) == len(["[START]", "is", "there", "a", "blue", "shape", "?", "[END]"])
    assert tokenizer.decode(ids).strip() == "is there a blue shape?"


def test_no_text_is_outside_its_vocabulary() -> None:
    tokenizer = train_tokenizer(TEXTS, 270)
    assert tokenizer.get_vocab_size() == 270
    assert tokenizer.decode(tokenizer.encode("żółw 🐢 亀").ids).strip() == "żółw 🐢 亀"


def test_a_saved_one_still_knows_what_pads(tmp_path: Path) -> None:
    save_tokenizer(train_tokenizer(TEXTS, 300), tmp_path)
    short, long = open_tokenizer(tmp_path).encode_batch(["a", "what color is it?"])
    assert short.ids[-1] == PAD_ID
    assert len(short.ids) == len(long.ids)


def test_a_vocabulary_too_small_for_all_bytes_is_refused() -> None:
    with pytest.raises(ConfigError, match="vocab_size of the model is 100; a tokenizer needs 259"):
        train_tokenizer(TEXTS, 100)
