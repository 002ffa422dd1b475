"""The tokenizer kept in a model's assets: one file, made once, that text becomes ids by.

One from scratch is byte-level BPE on lower-cased text: no text is outside its vocabulary, and the
same texts give the same file every time, which word-piece training does not (its ids follow the
order of a hash table).
"""

from collections.abc import Iterable
from pathlib import Path

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from aiplat.errors import ConfigError
from aiplat.store import files

TOKENIZER = "tokenizer.json"

PAD_ID, END_ID, START_ID = 0, 1, 2
_SPECIAL = ("[PAD]", "[END]", "[START]")


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A tokenizer of at most `vocab_size` tokens, fitted to `texts`."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    smallest = len(_SPECIAL) + len(alphabet)
    if vocab_size < smallest:
        raise ConfigError(
            f"vocab_size of the model is {vocab_size}; a tokenizer needs {smallest}, "
            "one for every byte and its special tokens"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(_SPECIAL),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[START] $A [END]", special_tokens=[("[START]", START_ID), ("[END]", END_ID)]
    )
    return tokenizer


def save_tokenizer(
    tokenizer: Tokenizer, assets: Path, pad_id: int = PAD_ID, pad_token: str = _SPECIAL[PAD_ID]
) -> None:
    """Write the tokenizer to the assets, and with it which id pads."""
    # tokenizer.json has no other place for it; lengths are chosen by whoever opens the file.
    tokenizer.enable_padding(pad_id=pad_id, pad_token=pad_token)
    files.write_bytes(str(assets / TOKENIZER), tokenizer.to_str().encode())


def open_tokenizer(assets: Path) -> Tokenizer:
    """The tokenizer of the assets."""
    return Tokenizer.from_file(str(assets / TOKENIZER))
