"""A task with its model, built from two configuration nodes and what a dataset says of itself."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import nn

from aiplat.config import targets
from aiplat.datasets.versions import DatasetInfo
from aiplat.tasks.task import Task

# What `build_task` hands to constructors that have such a parameter.
MODEL_PROVIDED = ("num_classes", "num_numbers", "category_sizes", "assets", "load_weights")
TASK_PROVIDED = ("model", "info", "assets", "texts", "cache_bytes")


@dataclass(frozen=True)
class BuildSource:
    """What models and tasks are built from besides their configuration.

    assets: a folder of what belongs to the model besides its weights; who needs such a file makes
        it where it is not there yet.
    load_weights: false leaves pretrained weights unread, for a model whose weights come after.
    texts: the texts of a column of the training split, to fit a tokenizer to; None where the
        assets are complete.
    cache_bytes: memory for what an image column has decoded; 0 where images come but once.
    """

    info: DatasetInfo
    assets: Path
    load_weights: bool = True
    texts: Callable[[str], Iterable[str]] | None = None
    cache_bytes: int = 0


def build_task(model: Mapping[str, Any], task: Mapping[str, Any], source: BuildSource) -> Task:
    """Build the model node, then the task node around it. Raises ConfigError."""
    return task_around(build_model(model, source), task, source)


def build_model(model: Mapping[str, Any], source: BuildSource) -> nn.Module:
    """Build the model node. Raises ConfigError."""
    info = source.info
    network = targets.build(
        model,
        num_classes=len(info.labels),
        num_numbers=len(info.of_kind("number")),
        # Index 0 stands for what is missing or was never seen.
        category_sizes=tuple(len(column.categories) + 1 for column in info.of_kind("category")),
        assets=source.assets,
        load_weights=source.load_weights,
    )
    return cast("nn.Module", network)


def task_around(network: nn.Module, task: Mapping[str, Any], source: BuildSource) -> Task:
    """Build the task node with a model that is there. Raises ConfigError."""
    built = targets.build(
        task,
        model=network,
        info=source.info,
        assets=source.assets,
        texts=source.texts,
        cache_bytes=source.cache_bytes,
    )
    return cast(Task, built)
