"""Tasks are built from their nodes, and constructors get what they ask for by name."""

from pathlib import Path
from typing import Any

import pytest
from torch import nn

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import ConfigError
from aiplat.tasks.build import MODEL_PROVIDED, TASK_PROVIDED, BuildSource, build_task

INFO = DatasetInfo(
    (
        Column("age", "number"),
        Column("home", "category", categories=("rent", "owner")),
        Column("status", "label"),
    ),
    ("bad", "good", "ugly"),
)


class Asks(nn.Module):
    """A model that wants to know all it can."""

    def __init__(
        self,
        num_classes: int,
        num_numbers: int,
        category_sizes: tuple[int, ...],
        assets: Path,
        load_weights: bool,
    ) -> None:
        super().__init__()
        self.told = {
            "num_classes": num_classes,
            "num_numbers": num_numbers,
            "category_sizes": category_sizes,
            "assets": assets,
            "load_weights": load_weights,
        }


class Part:
    """A part of a task that asks for the model too."""

    def __init__(self, model: Asks) -> None:
        self.model = model


class Listens:
    """A task that keeps what it was given."""

    def __init__(
        self,
        model: Asks,
        info: DatasetInfo,
        assets: Path,
        texts: Any,
        cache_bytes: int,
        part: Part,
    ) -> None:
        self.model = model
        self.told = {"model": model, "info": info, "assets": assets, "texts": texts}
        self.told["cache_bytes"] = cache_bytes
        self.part = part


def built(source: BuildSource) -> Any:
    part = {"_target_": f"{__name__}.Part"}
    model, task = {"_target_": f"{__name__}.Asks"}, {"_target_": f"{__name__}.Listens"}
    return build_task(model, {**task, "part": part}, source)


def test_everything_promised_is_provided_nested_parts_included(tmp_path: Path) -> None:
    source = BuildSource(INFO, tmp_path, load_weights=False, texts=lambda _: ["a"])
    task = built(source)
    assert task.model.told == {
        "num_classes": 3,
        "num_numbers": 1,
        "category_sizes": (3,),
        "assets": tmp_path,
        "load_weights": False,
    }
    assert set(task.model.told) == set(MODEL_PROVIDED)
    assert set(task.told) == set(TASK_PROVIDED)
    assert (task.told["info"], task.told["texts"]) == (INFO, source.texts)
    assert task.part.model is task.model


def test_a_mistyped_key_is_a_configuration_error(tmp_path: Path) -> None:
    model = {"_target_": "aiplat.models.tabular.TabularNetwork", "width": [8]}
    with pytest.raises(ConfigError, match="did you mean 'widths'"):
        build_task(model, {"_target_": f"{__name__}.Listens"}, BuildSource(INFO, tmp_path))
