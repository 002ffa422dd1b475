"""Pretrained models as their authors publish them: small random ones, in a folder."""

from pathlib import Path

import torch
from transformers import BertConfig, BertModel, CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from aiplat.models.tokenizer import END_ID, START_ID, train_tokenizer

WORDS = ["a blue triangle", "a red circle", "what is it?"]
VOCAB_SIZE = 300


def bert_folder(folder: Path) -> BertModel:
    """Publish a BERT of two layers in `folder`."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=24,
    )
    return _published(BertModel(config).eval(), folder)


def clip_folder(folder: Path) -> CLIPModel:
    """Publish a CLIP of two layers a tower in `folder`."""
    torch.manual_seed(0)
    shared = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    text = {
        "vocab_size": VOCAB_SIZE,
        "max_position_embeddings": 16,
        "bos_token_id": START_ID,
        "eos_token_id": END_ID,
    }
    config = CLIPConfig(
        vision_config={**shared, "image_size": 16, "patch_size": 8},
        text_config={**shared, **text},
        projection_dim=12,
    )
    return _published(CLIPModel(config).eval(), folder)


def _published(model, folder):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    model.save_pretrained(folder)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=train_tokenizer(WORDS, VOCAB_SIZE),
        pad_token="[PAD]",  # noqa: S106
        bos_token="[START]",  # noqa: S106
        eos_token="[END]",  # noqa: S106
    )
    tokenizer.save_pretrained(folder)
    return model
