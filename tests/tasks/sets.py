"""Small datasets as tasks see them, and how well a task learns one in a few steps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aiplat.datasets import statistics
from aiplat.datasets.synthetic import SyntheticSet
from aiplat.datasets.versions import DatasetInfo
from aiplat.tasks.build import BuildSource, build_task
from aiplat.tasks.rows import rows_of
from aiplat.tasks.task import Rows, Task

LABEL = {"_target_": "aiplat.tasks.labels.LabelColumn"}
IMAGE = {"_target_": "aiplat.tasks.images.ImageColumn"}
TEXT = {"_target_": "aiplat.tasks.texts.TextColumn"}
TOWERS = {
    "_target_": "aiplat.models.towers.ConvTowers",
    "image_size": 16,
    "embed_size": 16,
    "channels": [16, 32],
    "max_tokens": 16,
    "text": {
        "_target_": "aiplat.models.sizes.TransformerSizes",
        "width": 16,
        "layers": 1,
        "heads": 2,
        "vocab_size": 400,
    },
}


def info_of(made: SyntheticSet) -> DatasetInfo:
    """What a version of the set would say of itself."""
    measured = statistics.measure(made.table, made.columns)
    return DatasetInfo(statistics.described(made.columns, measured), made.labels)


def task_for(made: SyntheticSet, model: dict[str, Any], task: dict[str, Any], assets: Path) -> Task:
    """The task of two nodes on the set, the same weights every time."""
    torch.manual_seed(0)
    rows = rows_of(made.table)
    return build_task(
        model, task, BuildSource(info_of(made), assets, texts=lambda name: rows[name])
    )


def part(rows: Rows, indices: Sequence[int]) -> Rows:
    """Some of the rows."""
    return {name: [values[index] for index in indices] for name, values in rows.items()}


def learn(
    task: Task, made: SyntheticSet, num_test: int, num_epochs: int, shuffled: bool = False
) -> dict[str, float]:
    """Train on all but the last rows, and the metrics on those. Shuffled labels teach nothing."""
    rows = dict(rows_of(made.table))
    num_train = made.table.num_rows - num_test
    if shuffled:
        _shuffle(rows, num_train)
    optimizer = torch.optim.AdamW(task.model.parameters(), lr=5e-3, weight_decay=0.01)
    batch = task.encode(part(rows, range(num_train)))
    task.model.train()
    for _ in range(num_epochs):
        for order in torch.randperm(num_train).split(32):
            loss, _ = task.loss({name: tensor[order] for name, tensor in batch.items()})
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    return evaluate(task, part(rows, range(num_train, num_train + num_test)))


def evaluate(task: Task, rows: Rows) -> dict[str, float]:
    """The task's metrics on the rows, those that are one number."""
    task.model.eval()
    metrics = task.metrics()
    with torch.no_grad():
        task.measure(task.encode(rows), metrics)
    return {name: float(value) for name, value in metrics.compute().items() if value.numel() == 1}


def _shuffle(rows: dict[str, Any], num_train: int) -> None:
    """Give the training rows each other's targets: the labels, and captions where they are that."""
    order = [
        *np.random.default_rng(0).permutation(num_train),
        *range(num_train, len(rows["label"])),
    ]
    for name in {"label", "text"} & rows.keys() if "image" in rows else {"label"}:
        rows[name] = [rows[name][index] for index in order]
