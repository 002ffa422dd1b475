from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from aiplat.training.evaluation import evaluate
from aiplat.training.local import LocalWorker
from tests.fakes import NUM_CLASSES, TinyTask, blobs
from tests.training.runs import forgetful_model


def mean_auc(answers: Any, labels: Any) -> float:
    """How often a class's rows score higher for it than other rows do, averaged over classes."""
    areas = []
    for label in range(NUM_CLASSES):
        own, others = answers[labels == label, label], answers[labels != label, label]
        areas.append((own[:, None] > others[None, :]).mean())
    return float(np.mean(areas))


@pytest.mark.parametrize("micro_batch_rows", [1, 7, 50, 1000])
def test_metrics_are_those_of_all_rows_however_they_are_cut(micro_batch_rows: int) -> None:
    table = blobs(50, seed=3)
    task = TinyTask(forgetful_model())
    measured = evaluate(task, LocalWorker({"val": table}, task, ""), "val", micro_batch_rows)

    task.model.eval()
    points = np.stack([table.column("x"), table.column("y")], axis=1)
    with torch.no_grad():
        answers = task.model(torch.tensor(points, dtype=torch.float32)).softmax(dim=1).numpy()
    labels = table.column("label").to_numpy()
    assert measured.metrics["accuracy"] == pytest.approx((answers.argmax(1) == labels).mean())
    assert measured.metrics["auroc"] == pytest.approx(mean_auc(answers, labels))
    counts = np.zeros((NUM_CLASSES, NUM_CLASSES), dtype=int)
    np.add.at(counts, (labels, answers.argmax(1)), 1)
    assert measured.tensors["confusion"] == counts.tolist()


def test_evaluating_leaves_no_trace_in_the_model(tmp_path: Path) -> None:
    task = TinyTask(forgetful_model())
    task.model.train()
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    evaluate(task, LocalWorker({"val": blobs(20)}, task, str(tmp_path)), "val", 8)
    assert task.model.training
    assert all(torch.equal(before[name], value) for name, value in task.model.state_dict().items())
