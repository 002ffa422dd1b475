"""Which label a text has: learned from its words."""

from pathlib import Path
from typing import Any, cast

import pytest
import torch

from aiplat.datasets.synthetic import short_reviews
from aiplat.errors import DataError
from aiplat.models.bert import TextClassifier
from tests.tasks.sets import LABEL, TEXT, learn, task_for

MODEL: dict[str, Any] = {
    "_target_": "aiplat.models.bert.TextClassifier",
    "encoder": {
        "_target_": "aiplat.models.bert.Bert",
        "max_tokens": 16,
        "sizes": {
            "_target_": "aiplat.models.sizes.TransformerSizes",
            "width": 32,
            "layers": 1,
            "heads": 2,
            "vocab_size": 400,
        },
    },
}
TASK = {
    "_target_": "aiplat.tasks.text_classification.TextClassification",
    "text": TEXT,
    "label": LABEL,
}


@pytest.mark.parametrize("shuffled", [False, True])
def test_an_encoder_learns_the_word_that_decides_but_not_shuffled_labels(
    tmp_path: Path, shuffled: bool
) -> None:
    made = short_reviews(144)
    found = learn(task_for(made, MODEL, TASK, tmp_path), made, 48, 12, shuffled)
    assert (found["accuracy"] > 0.9) != shuffled
    assert (found["auc"] > 0.9) != shuffled


def test_the_first_tokens_state_may_stand_for_the_text(tmp_path: Path) -> None:
    made = short_reviews(2)
    task = task_for(made, {**MODEL, "pooling": "first"}, TASK, tmp_path)
    batch = task.encode({"text": ["great"]})
    model = cast(TextClassifier, task.model.eval())
    states = model.encoder(batch["tokens"], batch["mask"])
    assert torch.equal(model(**batch), model.head(states[:, 0]))


def test_a_row_without_a_text_is_named_and_an_empty_text_is_one(tmp_path: Path) -> None:
    task = task_for(short_reviews(8), MODEL, TASK, tmp_path)
    assert len(task.predict(task.encode({"text": ["", "great"]}))) == 2
    with pytest.raises(DataError, match="column 'text', row 1: the value is missing"):
        task.encode({"text": ["great", None]})


def test_the_example_is_what_the_configuration_says(tmp_path: Path) -> None:
    text = {**TEXT, "example": "a lovely soup"}
    task = task_for(short_reviews(8), MODEL, {**TASK, "text": text}, tmp_path)
    assert [(field.name, field.example) for field in task.inputs] == [("text", "a lovely soup")]
