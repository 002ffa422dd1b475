"""A model version of images and texts, untrained: its answers are as good as any."""

import io
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.registry.card import ModelFacts
from aiplat.registry.export import export_model
from aiplat.tasks.build import BuildSource, build_task

LABELS = ("circle", "square", "triangle")
MODEL: dict[str, Any] = {
    "_target_": "aiplat.models.fusion.Fusion",
    "hidden": 8,
    "towers": {
        "_target_": "aiplat.models.towers.ConvTowers",
        "image_size": 16,
        "embed_size": 8,
        "channels": [4, 8],
        "text": {
            "_target_": "aiplat.models.sizes.TransformerSizes",
            "width": 8,
            "layers": 1,
            "heads": 2,
            "vocab_size": 300,
        },
    },
}
TASK: dict[str, Any] = {
    "_target_": "aiplat.tasks.multimodal_classification.MultimodalClassification",
    "image": {"_target_": "aiplat.tasks.images.ImageColumn"},
    "text": {"_target_": "aiplat.tasks.texts.TextColumn"},
    "label": {"_target_": "aiplat.tasks.labels.LabelColumn"},
}


def shapes_folder(folder: Path, turned: bool = False) -> Path:
    """The version's folder, below `folder`. turned: its labels are those that others rank last."""
    torch.manual_seed(0)
    columns = (Column("image", "image"), Column("text", "text"), Column("answer", "label"))
    info = DatasetInfo(columns, LABELS)
    assets = folder / "assets"
    source = BuildSource(info, assets, texts=lambda _: ["is it a circle?", "is there a square?"])
    task = build_task(MODEL, TASK, source)
    facts = ModelFacts(
        name="shapes",
        run="first",
        config={"model": MODEL, "task": TASK},
        info=info,
        dataset="shapes@0123",
        num_rows={"train": 2},
        inputs=task.inputs,
        outputs=task.outputs,
        metrics={"test": {"accuracy": 0.5}},
        primary="accuracy",
    )
    weights = task.model.state_dict()
    if turned:
        weights |= {name: -weights[name] for name in ("head.3.weight", "head.3.bias")}
    return Path(export_model(str(folder / "model"), weights, str(assets), facts))


def picture(number: int) -> bytes:
    """The file of an image like no other."""
    stream = io.BytesIO()
    Image.linear_gradient("L").resize((24, 20)).point(lambda value: value ^ number).save(
        stream, "PNG"
    )
    return stream.getvalue()
