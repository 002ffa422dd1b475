import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError, DataError, RegistryError
from aiplat.inference.predictor import Predictor, RowError
from tests.exported import color_folder
from tests.inference.conftest import MakeImage


def test_a_model_version_answers_from_its_folder_alone(colors: Predictor, image: MakeImage) -> None:
    answers = colors([{"image": image("lime")}, {"image": image("red")}, {"image": image("blue")}])
    assert [answer["label"] for answer in answers] == ["green", "red", "blue"]
    assert answers[0]["probabilities"]["green"] > 0.99
    assert json.loads(json.dumps(answers)) == answers


def test_encoding_and_answering_apart_is_the_same_as_together(
    colors: Predictor, image: MakeImage
) -> None:
    rows = [{"image": image("lime")}, {"image": image("red")}]
    assert colors.predict(colors.encode(rows)) == colors(rows)


def test_no_rows_have_no_answers(colors: Predictor) -> None:
    assert colors([]) == []


def test_it_says_what_it_takes_and_answers(rows_model: Predictor) -> None:
    assert [item.name for item in rows_model.task_inputs] == ["width", "height", "kind"]
    assert [item.name for item in rows_model.task_outputs] == ["label", "probabilities"]


def test_what_may_be_missing_may_be_left_out_or_null(rows_model: Predictor) -> None:
    without: list[Mapping[str, Any]] = [
        {"width": 3, "kind": "flipped"},
        {"width": 3.0, "height": None, "kind": "flipped"},
        {"width": 3.0, "height": math.nan, "kind": "flipped"},
    ]
    first, *others = rows_model(without)
    assert all(other == first for other in others)
    assert rows_model([{"width": 3, "height": 1e6, "kind": "flipped"}]) != [first]


@pytest.mark.parametrize(
    ("row", "field", "detail"),
    [
        ({}, "image", "it is required (image), but missing"),
        ({"image": None}, "image", "it is required (image), but missing"),
        ({"image": "a text"}, "image", "expected the bytes of an image file, got 'a text' (str)"),
        ({"picture": b""}, "picture", "there is no such field (there are: image)"),
    ],
)
def test_a_row_that_does_not_fit_is_named_with_its_field(
    colors: Predictor, image: MakeImage, row: Mapping[str, Any], field: str, detail: str
) -> None:
    with pytest.raises(RowError) as caught:
        colors([{"image": image("red")}, row])
    assert (caught.value.row, caught.value.field, caught.value.detail) == (1, field, detail)
    assert str(caught.value) == f"row 1, field {field!r}: {detail}"


@pytest.mark.parametrize("value", [True, "3", math.inf, b"3", [3]])
def test_what_is_no_number_is_not_taken_for_one(rows_model: Predictor, value: Any) -> None:
    with pytest.raises(RowError, match="field 'width': expected a finite number"):
        rows_model([{"width": value}])


def test_a_broken_image_is_the_fault_of_its_row_and_field(
    colors: Predictor, image: MakeImage
) -> None:
    broken = image("red")[:40]
    with pytest.raises(RowError) as caught:
        colors([{"image": image("red")}, {"image": image("red")}, {"image": broken}])
    assert (caught.value.row, caught.value.field) == (2, "image")
    assert isinstance(caught.value, DataError)


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    folder = color_folder(tmp_path / "colors")
    weights = load_file(folder / "model.safetensors")
    broken = {"head.weight": torch.ones(2, 3), "tail.bias": weights["head.bias"]}
    save_file(broken, folder / "model.safetensors")
    with pytest.raises(RegistryError) as caught:
        Predictor.open(folder)
    for said in ("missing: head.bias", "unexpected: tail.bias", "of another shape: head.weight"):
        assert said in str(caught.value)


def test_a_folder_that_is_no_model_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="no model version: it lacks"):
        Predictor.open(tmp_path)


def test_the_model_neither_learns_nor_drops_out(rows_model: Predictor) -> None:
    model = rows_model.task.model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    row = [{"width": 3.0, "height": 1.0, "kind": "straight"}]
    assert rows_model(row) == rows_model(row)


def test_lower_precision_answers_nearly_the_same(
    tmp_path: Path, colors: Predictor, image: MakeImage
) -> None:
    rough = Predictor.open(tmp_path / "colors", precision="bf16")
    [exact], [about] = colors([{"image": image("#a08060")}]), rough([{"image": image("#a08060")}])
    assert exact != about
    for label, probability in exact["probabilities"].items():
        assert about["probabilities"][label] == pytest.approx(probability, abs=0.02)


def test_a_device_that_is_not_there_is_an_error_that_says_so(tmp_path: Path) -> None:
    folder = color_folder(tmp_path / "colors")
    with pytest.raises(
        ConfigError, match=r"inference\.device is 'gpu', expected auto, cpu or cuda"
    ):
        Predictor.open(folder, device="gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="there is no GPU here"):
            Predictor.open(folder, device="cuda")
    with pytest.raises(ConfigError, match=r"inference\.precision is 'fp8'"):
        Predictor.open(folder, precision="fp8")


def test_rows_of_a_dataset_version_are_answered_as_requests_are(
    rows_model: Predictor, table: DatasetVersion
) -> None:
    inputs = [item.name for item in rows_model.task_inputs]
    [shard] = table.read("test", inputs)
    assert len(rows_model(shard.to_pylist())) == 30
