from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torchmetrics import MetricCollection

from aiplat.datasets.versions import DatasetInfo, DatasetVersion
from aiplat.errors import DataError
from aiplat.inference.evaluate import joined, label_translation, measure, split_metrics
from aiplat.inference.predictor import Predictor
from tests.fakes import NUM_CLASSES, TinyTask, blobs

INFO = DatasetInfo((), ("a", "b", "c"))


def tables(table: pa.Table, num_rows: int) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, num_rows):
        yield table.slice(start, num_rows)


@pytest.fixture
def tiny() -> Predictor:
    return Predictor(TinyTask(), INFO)


def right_answers(predictor: Predictor, rows: pa.Table) -> int:
    points = torch.tensor(np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], axis=1))
    found = predictor.task.model(points.float()).argmax(dim=1).numpy()
    return int((found == rows["label"].to_numpy()).sum())


def test_the_metrics_are_those_of_all_rows(tiny: Predictor) -> None:
    rows = blobs(50)
    found = split_metrics(measure(tiny, tables(rows, 7)), INFO, ("blobs@1", "test", 50))
    assert found.metrics["accuracy"] == pytest.approx(right_answers(tiny, rows) / 50)
    assert found.confusion is not None
    assert found.confusion.counts.sum() == 50
    assert np.trace(found.confusion.counts) == right_answers(tiny, rows)


def test_parts_measured_apart_join_to_the_same_metrics(tiny: Predictor) -> None:
    rows = blobs(50)
    parts = [measure(tiny, tables(part, 7)) for part in tables(rows, 20)]
    whole = measure(tiny, tables(rows, 50)).compute()
    for name, value in joined(parts).compute().items():
        assert torch.allclose(value.float(), whole[name].float()), name


def test_one_part_alone_is_the_whole(tiny: Predictor) -> None:
    part = measure(tiny, tables(blobs(9), 4))
    assert float(joined([part]).compute()["accuracy"]) == float(part.compute()["accuracy"])


@pytest.mark.parametrize("num_parts", [1, 3])
def test_the_metrics_of_a_real_task_join_too(
    rows_model: Predictor, table: DatasetVersion, num_parts: int
) -> None:
    [rows] = table.read("test", rows_model.task.columns)
    size = rows.num_rows // num_parts
    parts: list[MetricCollection] = [
        measure(rows_model, tables(part, 4)) for part in tables(rows, size)
    ]
    whole = measure(rows_model, tables(rows, 30)).compute()
    computed = joined(parts).compute()
    assert set(computed) == {"accuracy", "f1", "loss", "confusion", "auc"}
    for name, value in computed.items():
        assert torch.allclose(value.float(), whole[name].float(), atol=1e-5), name


def test_what_is_no_number_and_no_confusion_is_left_out() -> None:
    class Odd(MetricCollection):
        def compute(self) -> dict[str, torch.Tensor]:
            return {"accuracy": torch.tensor(0.5), "curve": torch.zeros(4)}

    found = split_metrics(Odd({}), INFO, ("blobs@1", "test", 2))
    assert (found.metrics, found.confusion) == ({"accuracy": 0.5}, None)


def test_labels_are_matched_by_name(table: DatasetVersion) -> None:
    swapped = DatasetInfo(table.info.columns, ("yes", "maybe", "no"))
    translate = label_translation(table, swapped)
    rows = pa.table({"width": [1.0, 2.0, 3.0], "label": [0, 1, 1]})
    assert table.info.labels == ("no", "yes")
    assert translate(rows)["label"].to_pylist() == [2, 0, 0]
    assert translate(rows)["width"].to_pylist() == [1.0, 2.0, 3.0]


def test_the_same_labels_are_left_as_they_are(table: DatasetVersion) -> None:
    rows = pa.table({"label": [0, 1]})
    assert label_translation(table, table.info)(rows) is rows


def test_a_label_the_model_never_saw_is_named(table: DatasetVersion) -> None:
    other = replace(table, info=DatasetInfo(table.info.columns, ("no", "perhaps", "yes")))
    with pytest.raises(DataError, match=r"not trained on: perhaps \(it knows: no, yes\)"):
        label_translation(other, table.info)


def test_the_tiny_task_has_as_many_labels_as_its_information() -> None:
    assert len(INFO.labels) == NUM_CLASSES
