from dataclasses import replace
from pathlib import Path

import numpy as np

from aiplat.registry.card import ModelFacts, card
from aiplat.registry.confusion import Confusion
from aiplat.registry.folder import ModelFolder

ABOUT = {
    "commit": "abc-dirty",
    "created": "2026-01-01T00:00:00+00:00",
    "environment": {"python": "3.11"},
    "weights_sha256": "00ff",
}


def test_the_card_says_what_one_must_know(folder: str) -> None:
    text = (ModelFolder.open(Path(folder)).path / "card.md").read_text()
    for said in (
        "`shop.models.Small` trained for the task `shop.tasks.Sort` on `shapes@0123`",
        "| metric | val | test |",
        "| **accuracy** | 0.9500 | 0.9000 |",
        "| loss | 0.2000 |  |",
        "![Confusion matrix of the split test](confusion.png)",
        "| square | circle | 2 |",
        "| train | 1,200 |",
        "3 labels: `circle`, `square`, `triangle`.",
        "| `note` | text | no |",
        "It also answers without `note`",
        "Weakest classes by recall on test: `square` (80.0%), `triangle` (90.0%).",
        "python -m aiplat.jobs.serve models=[shapes@champion]",
        "| `optim.lr` | 0.001 |",
    ):
        assert said in text
    assert "hub_token" not in text


def test_many_classes_are_told_by_their_confused_pairs(facts: ModelFacts) -> None:
    labels = tuple(f"class {index}" for index in range(50))
    counts = np.eye(50, dtype=int) * 9
    counts[3, 4] = 7
    many = replace(
        facts, info=replace(facts.info, labels=labels), confusion=Confusion(labels, counts)
    )
    text = card(many, ABOUT, pictured=False)
    assert "| class 3 | class 4 | 7 |" in text
    assert "![" not in text
    assert "and 10 more" in text


def test_labels_with_bars_and_line_breaks_keep_the_tables_whole(facts: ModelFacts) -> None:
    labels = ("a|b", "c\nd")
    odd = replace(
        facts,
        info=replace(facts.info, labels=labels),
        confusion=Confusion(labels, np.array([[1, 2], [0, 1]])),
    )
    assert "| a\\|b | c d | 2 |" in card(odd, ABOUT, pictured=True)


def test_a_model_without_errors_has_no_weak_classes(facts: ModelFacts) -> None:
    perfect = replace(facts, confusion=Confusion(("a", "b"), np.eye(2, dtype=int)))
    text = card(perfect, ABOUT, pictured=True)
    assert "No row was answered wrongly." in text
    assert "Weakest" not in text
