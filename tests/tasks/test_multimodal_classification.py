"""Image and text together: both are needed to learn, either may be missing, neither is an error."""

from pathlib import Path
from typing import Any

import pytest
import torch

from aiplat.datasets.synthetic import shape_questions
from aiplat.errors import DataError
from aiplat.tasks.rows import rows_of
from tests.tasks.sets import IMAGE, LABEL, TEXT, TOWERS, learn, part, task_for

MODEL: dict[str, Any] = {"_target_": "aiplat.models.fusion.Fusion", "towers": TOWERS, "hidden": 32}
TASK: dict[str, Any] = {
    "_target_": "aiplat.tasks.multimodal_classification.MultimodalClassification",
    "image": IMAGE,
    "text": TEXT,
    "label": LABEL,
}


@pytest.mark.parametrize(
    ("modalities", "shuffled"), [("both", False), ("both", True), ("image", False), ("text", False)]
)
def test_only_both_sides_together_answer_the_questions(
    tmp_path: Path, modalities: str, shuffled: bool
) -> None:
    made = shape_questions(200, size=16)
    task = task_for(made, {**MODEL, "modalities": modalities}, TASK, tmp_path)
    found = learn(task, made, 64, 12, shuffled)
    # One side alone leaves three answers (the text) or two (the image) open.
    assert (found["accuracy"] > 0.6) == (modalities == "both" and not shuffled)


def test_either_side_may_be_missing_and_a_row_of_neither_is_named(tmp_path: Path) -> None:
    made = shape_questions(3)
    task = task_for(made, MODEL, TASK, tmp_path)
    rows = part(rows_of(made.table), range(3))
    partial = {
        "image": [rows["image"][0], None, rows["image"][2]],
        "text": ["what?", "what?", None],
    }
    batch = task.encode(partial)
    assert batch["has_image"].tolist() == [True, False, True]
    assert batch["has_text"].tolist() == [True, True, False]
    assert len(task.predict(batch)) == 3
    assert len(task.predict(task.encode({"text": ["what?"]}))) == 1
    with pytest.raises(DataError, match="row 1: both 'image' and 'text' are missing"):
        task.encode({"image": [rows["image"][0], None], "text": [None, None]})


@pytest.mark.parametrize("modalities", ["image", "text"])
def test_a_model_of_one_side_reads_and_asks_for_that_side_only(
    tmp_path: Path, modalities: str
) -> None:
    made = shape_questions(3)
    task = task_for(made, {**MODEL, "modalities": modalities}, TASK, tmp_path)
    assert task.columns == (modalities, "label")
    assert [(field.name, field.required) for field in task.inputs] == [(modalities, True)]
    with pytest.raises(DataError, match=f"column '{modalities}', row 0: the value is missing"):
        task.encode({modalities: [None]})


def test_hidden_sides_are_hidden_in_training_only_and_never_both(tmp_path: Path) -> None:
    made = shape_questions(200, size=16)
    rows = rows_of(made.table)
    task = task_for(made, MODEL, {**TASK, "hide_fraction": 0.2}, tmp_path)
    torch.manual_seed(0)
    batch = task.encode(rows, augment=True)
    hidden = [1 - batch[name].float().mean().item() for name in ("has_image", "has_text")]
    assert hidden == pytest.approx([0.2, 0.2], abs=0.1)
    assert bool((batch["has_image"] | batch["has_text"]).all())
    assert bool(task.encode(rows)["has_image"].all())
