"""Tiny tasks of every kind of call: images, texts of any length, tables, two towers."""

from pathlib import Path
from typing import Any

import torch

from aiplat.datasets import synthetic
from aiplat.datasets.synthetic import SyntheticSet
from aiplat.datasets.versions import DatasetInfo
from aiplat.inference.engines.calls import graphs_of
from aiplat.inference.engines.graph import Graph
from aiplat.tasks.rows import rows_of
from aiplat.tasks.task import Batch, Rows, Task
from tests.tasks.sets import IMAGE, LABEL, TEXT, TOWERS, info_of, part, task_for

_TASKS = "aiplat.tasks"
_BERT: dict[str, Any] = {
    "_target_": "aiplat.models.bert.TextClassifier",
    "encoder": {
        "_target_": "aiplat.models.bert.Bert",
        "max_tokens": 16,
        "sizes": TOWERS["text"],
    },
}
_PAIR = {"image": IMAGE, "text": TEXT, "label": LABEL}
KINDS: dict[str, tuple[SyntheticSet, dict[str, Any], dict[str, Any]]] = {
    "table": (
        synthetic.separable_table(24),
        {"_target_": "aiplat.models.tabular.TabularNetwork", "widths": [8]},
        {"_target_": f"{_TASKS}.tabular_classification.TabularClassification", "label": LABEL},
    ),
    "text": (
        synthetic.short_reviews(24),
        _BERT,
        {
            "_target_": f"{_TASKS}.text_classification.TextClassification",
            "text": TEXT,
            "label": LABEL,
        },
    ),
    "fusion": (
        synthetic.shape_questions(24),
        {"_target_": "aiplat.models.fusion.Fusion", "hidden": 8, "towers": TOWERS},
        {
            "_target_": f"{_TASKS}.multimodal_classification.MultimodalClassification",
            **_PAIR,
        },
    ),
    "pair": (
        synthetic.captioned_shapes(24),
        {"_target_": "aiplat.models.paired.PairedTowers", "towers": TOWERS},
        {"_target_": f"{_TASKS}.contrastive.Contrastive", **_PAIR},
    ),
}


class Tiny:
    """A task of one kind, its rows, and what torch answers to them."""

    def __init__(self, kind: str, folder: Path) -> None:
        made, model, task = KINDS[kind]
        self.rows: Rows = rows_of(made.table)
        self.info: DatasetInfo = info_of(made)
        self.task: Task = task_for(made, model, task, folder / kind)
        self.task.model.eval().requires_grad_(False)
        self.model = self.task.model

    def graphs(self) -> list[Graph]:
        """Those of the task, with rows to calibrate with."""
        real = [self.batch(4, start) for start in range(0, 24, 4)]
        return graphs_of(self.task, self.info, real)

    def batch(self, num_rows: int, start: int = 0, text: str | None = None) -> Batch:
        """Some rows, all of another text where one is given."""
        rows = dict(part(self.rows, range(start, start + num_rows)))
        if text is not None:
            rows["text"] = [text] * num_rows
        return self.task.encode(rows)

    def probabilities(self, batch: Batch) -> torch.Tensor:
        """Of every label, for each row of the batch."""
        with torch.inference_mode():
            answers = self.task.predict(batch)
        return torch.tensor([list(answer["probabilities"].values()) for answer in answers])
