"""Labels: as targets, as metrics and as answers."""

import math

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import ConfigError, DataError
from aiplat.tasks.labels import LabelColumn

COLUMNS = (Column("answer", "label"),)


def labels(*names: str, smoothing: float = 0.0) -> LabelColumn:
    return LabelColumn(DatasetInfo(COLUMNS, names), smoothing=smoothing)


def measured(
    column: LabelColumn, scores: torch.Tensor, target: list[int]
) -> dict[str, torch.Tensor]:
    metrics = MetricCollection(dict(column.metrics()), compute_groups=False)
    for row, value in enumerate(target):
        column.measure(metrics, scores[row : row + 1], torch.tensor([value]))
    return metrics.compute()


def test_indices_are_taken_and_anything_else_is_named() -> None:
    column = labels("a", "b", "c")
    assert column.encode(np.array([2, 0])).tolist() == [2, 0]
    for value in (3, -1, None, "a", 1.0, True):
        with pytest.raises(DataError, match="column 'answer', row 1: expected a label's index"):
            column.encode([0, value])


def test_the_metrics_are_those_of_a_case_counted_by_hand() -> None:
    scores = torch.tensor([[4.0, 0, 0], [0, 4.0, 0], [4.0, 0, 0], [4.0, 0, 0]])
    found = measured(labels("a", "b", "c"), scores, [0, 1, 0, 2])
    assert found["accuracy"] == 0.75
    # F1 is 0.8 for the first, 1 for the second, 0 for the third.
    assert found["f1"].item() == pytest.approx(0.6)
    assert found["confusion"].tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 0]]
    right = -math.log(math.exp(4) / (math.exp(4) + 2))
    assert found["loss"].item() == pytest.approx((3 * right + right + 4) / 4)
    assert "auc" not in found


def test_two_labels_have_an_area_under_the_curve_of_the_second() -> None:
    scores = torch.tensor([[1.0, 0], [0, 1.0], [0, 0.5], [0, 2.0]])
    assert measured(labels("no", "yes"), scores, [0, 0, 1, 1])["auc"].item() == 0.75


def test_metrics_are_of_full_precision_whatever_the_scores_are() -> None:
    scores = torch.tensor([[0.1, 0, 0]], dtype=torch.bfloat16)
    loss = measured(labels("a", "b", "c"), scores, [0])["loss"]
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(math.log(1 + 2 * math.exp(-scores[0, 0].item())), abs=1e-6)


def test_smoothing_moves_the_best_score_off_infinity() -> None:
    sharp, target = torch.tensor([[50.0, 0.0]]), torch.tensor([0])
    assert labels("a", "b").loss(sharp, target) < 1e-6
    assert labels("a", "b", smoothing=0.2).loss(sharp, target) > 1


def test_an_answer_names_the_best_label_and_all_probabilities() -> None:
    answer = labels("a", "b").answers(torch.tensor([[0.0, math.log(3)]]))[0]
    assert answer["label"] == "b"
    assert answer["probabilities"] == pytest.approx({"a": 0.25, "b": 0.75})


def test_one_label_is_nothing_to_tell_apart() -> None:
    with pytest.raises(ConfigError, match="takes two labels, the dataset has 1"):
        labels("a")
