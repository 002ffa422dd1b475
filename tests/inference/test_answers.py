from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from aiplat.datasets.versions import IMAGE_TYPE
from aiplat.inference.answers import Answering, answer_schema
from aiplat.inference.predictor import Predictor
from aiplat.tasks.fields import OutputField
from tests.exported import COLOR_INFO
from tests.inference.conftest import MakeImage


@pytest.fixture
def answering(colors: Predictor) -> Answering:
    schema = answer_schema(pa.field("row_id", pa.int64()), colors.task_outputs, colors.info)
    return Answering(colors, schema, "colors:1")


def images(files: Sequence[bytes | None], errors: Sequence[str | None] | None = None) -> pa.Table:
    values = [None if data is None else {"bytes": data, "path": ""} for data in files]
    columns = {"row_id": list(range(10, 10 + len(files))), "image": pa.array(values, IMAGE_TYPE)}
    return pa.table({**columns, **({"error": pa.array(errors, pa.string())} if errors else {})})


def test_each_row_has_its_answer_and_the_version_that_gave_it(
    answering: Answering, image: MakeImage
) -> None:
    batches = [images([image("red"), image("blue")]), images([image("lime")])]
    first, second = answering.answer(iter(batches))
    assert first["row_id"].to_pylist() == [10, 11]
    assert first["label"].to_pylist() == ["red", "blue"]
    assert first["model"].to_pylist() == ["colors:1", "colors:1"]
    assert first["error"].to_pylist() == [None, None]
    [probabilities] = list[Any](second["probabilities"].to_pylist())
    assert probabilities["green"] > 0.99


def test_the_answers_are_those_of_the_predictor(
    answering: Answering, colors: Predictor, image: MakeImage
) -> None:
    files = [image("#a08060"), image("#608060")]
    [table] = answering.answer(iter([images(files)]))
    for stored, answer in zip(
        table["probabilities"].to_pylist(), colors([{"image": data} for data in files]), strict=True
    ):
        assert stored == pytest.approx(answer["probabilities"], abs=1e-6)


def test_a_bad_row_has_its_error_and_spoils_no_other(
    answering: Answering, image: MakeImage
) -> None:
    files = [image("red"), b"no image", None, image("blue")]
    [table] = answering.answer(iter([images(files)]))
    assert table["label"].to_pylist() == ["red", None, None, "blue"]
    good, broken, missing, _ = list[Any](table["error"].to_pylist())
    assert good is None
    assert "image file of a known format" in broken
    assert "the value is missing" in missing
    assert "row 0" not in broken + missing


def test_what_the_reader_found_at_fault_is_not_asked_again(
    answering: Answering, image: MakeImage
) -> None:
    given = images([image("red"), image("blue")], ["unreadable file: gone", None])
    [table] = answering.answer(iter([given]))
    assert table["label"].to_pylist() == [None, "blue"]
    assert table["error"].to_pylist() == ["unreadable file: gone", None]


def test_rows_without_any_answer_keep_the_schema(answering: Answering) -> None:
    [table] = answering.answer(iter([images([b"", None])]))
    assert table.schema == answering.schema
    assert table["probabilities"].null_count == 2


def test_every_kind_of_output_has_a_type() -> None:
    outputs = [
        OutputField(kind, kind) for kind in ("label", "probabilities", "number", "vector", "text")
    ]
    schema = answer_schema(pa.field("origin", pa.string()), outputs, COLOR_INFO)
    assert schema.names == ["origin", *(output.name for output in outputs), "model", "error"]
    assert [field.name for field in schema.field("probabilities").type] == ["red", "green", "blue"]
