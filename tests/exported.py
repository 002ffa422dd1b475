"""Model version folders of small real tasks, as training would leave them."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.registry.card import ModelFacts
from aiplat.registry.export import export_model
from aiplat.tasks.build import BuildSource, build_task

_LABEL = {"_target_": "aiplat.tasks.labels.LabelColumn"}
COLORS = ("red", "green", "blue")
COLOR_INFO = DatasetInfo((Column("image", "image"), Column("label", "label")), COLORS)
COLOR_CONFIG: dict[str, Any] = {
    "model": {"_target_": "tests.inference.models.MeanColor"},
    "task": {
        "_target_": "aiplat.tasks.image_classification.ImageClassification",
        "image": {"_target_": "aiplat.tasks.images.ImageColumn"},
        "label": _LABEL,
    },
}
TABLE_CONFIG: dict[str, Any] = {
    "model": {"_target_": "aiplat.models.tabular.TabularNetwork", "widths": [8]},
    "task": {
        "_target_": "aiplat.tasks.tabular_classification.TabularClassification",
        "label": _LABEL,
    },
}


def color_folder(target: Path, model: str = "MeanColor", dataset: str = "made@up") -> Path:
    """A model that answers which of red, green and blue an image has most of.

    model: its class in tests/inference/models.py. dataset: the id of what it was trained on.
    """
    with torch.no_grad():
        head = nn.Linear(3, 3)
        head.weight.copy_(torch.eye(3) * 10)
        head.bias.zero_()
    weights = {f"head.{name}": value for name, value in head.state_dict().items()}
    config = {**COLOR_CONFIG, "model": {"_target_": f"tests.inference.models.{model}"}}
    return exported(target, config, COLOR_INFO, weights, dataset)


def table_folder(target: Path, info: DatasetInfo) -> Path:
    """A model of numbers and categories with random weights, the same every time."""
    torch.manual_seed(0)
    source = BuildSource(info=info, assets=target / "none", load_weights=False)
    task = build_task(TABLE_CONFIG["model"], TABLE_CONFIG["task"], source)
    return exported(target, TABLE_CONFIG, info, task.model.state_dict())


def exported(
    target: Path,
    config: dict[str, Any],
    info: DatasetInfo,
    weights: dict[str, torch.Tensor],
    dataset: str = "made@up",
) -> Path:
    """The folder of a model with these weights."""
    facts = ModelFacts(
        name=target.name,
        run="tiny",
        config=config,
        info=info,
        dataset=dataset,
        num_rows={"train": 1},
        inputs=(),
        outputs=(),
        metrics={},
        primary="accuracy",
    )
    return Path(export_model(str(target), weights, str(target / "no-assets"), facts))
