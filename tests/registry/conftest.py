"""Facts of a small classifier, and its exported folder."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.registry.card import ModelFacts
from aiplat.registry.confusion import Confusion
from aiplat.registry.export import export_model
from aiplat.tasks.fields import InputField, OutputField
from tests.stores import storage_with_database

LABELS = ("circle", "square", "triangle")
CONFIG = {
    "name": "first",
    "seed": 3,
    "dataset": {"name": "shapes", "batch_size": 32},
    "model": {"_target_": "shop.models.Small", "width": 4, "hub_token": "s3cret"},
    "task": {"_target_": "shop.tasks.Sort"},
    "optim": {"_target_": "torch.optim.AdamW", "lr": 0.001},
    "loop": {"max_epochs": 2, "clip_norm": None},
}


@pytest.fixture
def facts() -> ModelFacts:
    return ModelFacts(
        name="shapes",
        run="first",
        config=CONFIG,
        info=DatasetInfo((Column("image", "image"), Column("label", "label")), LABELS),
        dataset="shapes@0123",
        num_rows={"train": 1200, "val": 20, "test": 30},
        inputs=(InputField("image", "image"), InputField("note", "text", required=False)),
        outputs=(OutputField("label", "label", description="The most probable label."),),
        metrics={"val": {"accuracy": 0.95, "loss": 0.2}, "test": {"accuracy": 0.9}},
        primary="accuracy",
        confusion=Confusion(LABELS, np.array([[10, 0, 0], [2, 8, 0], [0, 1, 9]])),
        confusion_split="test",
    )


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    table = torch.arange(6.0).reshape(2, 3)
    # Tied and transposed: both are refused by safetensors as they are.
    return {"embedding": table, "head": table, "turned": table.T}


@pytest.fixture
def folder(tmp_path: Path, facts: ModelFacts, weights: dict[str, torch.Tensor]) -> str:
    assets = tmp_path / "assets"
    (assets / "tokenizer").mkdir(parents=True)
    (assets / "tokenizer" / "vocab.txt").write_text("a\nb")
    return export_model(str(tmp_path / "run" / "model"), weights, str(assets), facts)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    return storage_with_database(tmp_path / "storage")
