"""Every model of conf/model with every task of conf/task that it serves, small: the whole contract.

A new model or task is found by its file; what makes it small here goes by the names of its keys.
"""

import inspect
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import yaml

from aiplat.config.search import conf_dir
from aiplat.config.targets import resolve
from aiplat.datasets.synthetic import (
    SyntheticSet,
    captioned_shapes,
    separable_table,
    shape_questions,
    short_reviews,
)
from aiplat.tasks.build import BuildSource, build_task
from aiplat.tasks.rows import rows_of
from aiplat.tasks.task import Task
from tests.tasks.sets import info_of

CONF = conf_dir()
SMALL: dict[str, Any] = {
    "depth": 18,
    "image_size": 32,
    "embed_size": 16,
    "channels": [4, 8],
    "width": 16,
    "widths": [8],
    "layers": 1,
    "heads": 2,
    "hidden": 16,
    "vocab_size": 300,
    "max_tokens": 16,
}
# What a model's forward takes -> the task that calls it so, and rows for it.
TASKS: dict[tuple[str, ...], tuple[str, SyntheticSet]] = {
    ("image",): ("image_classification", captioned_shapes(6)),
    ("tokens", "mask"): ("text_classification", short_reviews(6)),
    ("image", "has_image", "tokens", "mask", "has_text"): (
        "multimodal_classification",
        shape_questions(6),
    ),
    ("image", "tokens", "mask"): ("contrastive", captioned_shapes(6)),
    ("numbers", "missing", "categories"): ("tabular_classification", separable_table(20)),
}
MODELS = sorted(file.stem for file in (CONF / "model").rglob("*.yaml"))


def small(node: Any) -> Any:
    """The node with everything in it that makes a model large made small."""
    if isinstance(node, dict):
        return {key: SMALL.get(key, small(value)) for key, value in node.items()}
    return node


def node(group: str, name: str) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load((CONF / group / f"{name}.yaml").read_text()))


def takes(model: dict[str, Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(resolve(model).forward).parameters)[1:]  # type: ignore[attr-defined]


def made(name: str, assets: Path, load_weights: bool = True) -> tuple[Task, SyntheticSet]:
    """The small task of a model's file, on a set it can learn."""
    torch.manual_seed(0)
    model = small(node("model", name))
    task, rows = TASKS[takes(model)]
    texts = (lambda name: rows_of(rows.table)[name]) if load_weights else None
    source = BuildSource(info_of(rows), assets, load_weights, texts)
    return build_task(model, node("task", task), source), rows


def test_every_task_has_a_model() -> None:
    served = {TASKS[takes(node("model", name))][0] for name in MODELS}
    assert served == {file.stem for file in (CONF / "task").rglob("*.yaml")}


@pytest.mark.parametrize("name", MODELS)
def test_a_batch_holds_a_tensor_of_as_many_rows_for_every_input(name: str, tmp_path: Path) -> None:
    task, made_rows = made(name, tmp_path)
    rows = rows_of(made_rows.table)
    assert set(task.columns) <= set(rows)
    assert set(task.columns) >= {field.name for field in task.inputs if field.required}
    batch = task.encode({name: rows[name] for name in task.columns}, augment=True)
    assert {len(tensor) for tensor in batch.values()} == {made_rows.table.num_rows}
    assert {tensor.device.type for tensor in batch.values()} == {"cpu"}


@pytest.mark.parametrize("name", MODELS)
def test_a_step_gives_every_trained_weight_a_finite_gradient(name: str, tmp_path: Path) -> None:
    task, made_rows = made(name, tmp_path)
    loss, extras = task.loss(task.encode(rows_of(made_rows.table)))
    loss.backward()
    assert loss.isfinite()
    assert all(extra.ndim == 0 for extra in extras.values())
    for weight, value in task.model.named_parameters():
        assert value.grad is not None, weight
        assert bool(value.grad.isfinite().all()), weight


@pytest.mark.parametrize("name", MODELS)
def test_the_primary_metric_and_a_confusion_of_all_rows_are_measured(
    name: str, tmp_path: Path
) -> None:
    task, made_rows = made(name, tmp_path)
    task.model.eval()
    metrics = task.metrics()
    with torch.inference_mode():
        task.measure(task.encode(rows_of(made_rows.table)), metrics)
    found = metrics.compute()
    assert found[task.primary].dtype == torch.float32
    assert int(found["confusion"].sum()) == made_rows.table.num_rows


@pytest.mark.parametrize("name", MODELS)
def test_answers_have_the_outputs_and_are_the_same_after_saving_and_restoring(
    name: str, tmp_path: Path
) -> None:
    task, made_rows = made(name, tmp_path)
    rows = {field.name: rows_of(made_rows.table)[field.name] for field in task.inputs}
    weights = task.model.state_dict()
    # From the assets and the weights alone, as a model version is opened.
    torch.manual_seed(1)
    restored, _ = made(name, tmp_path, load_weights=False)
    restored.model.load_state_dict(weights)
    answers = [one.predict(one.encode(rows)) for one in map(rested, (task, restored))]
    assert answers[0] == answers[1]
    assert {*answers[0][0]} == {field.name for field in task.outputs}
    assert len(answers[0]) == made_rows.table.num_rows


def rested(task: Task) -> Task:
    task.model.eval().requires_grad_(False)
    return task
