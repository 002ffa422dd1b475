"""A model version over many rows on a real cluster: answers and metrics as in one process."""

import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from aiplat.cluster.session import Session
from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import ConfigError, RegistryError
from aiplat.inference.config import InferenceConfig
from aiplat.inference.evaluate import measure
from aiplat.inference.files import file_rows
from aiplat.inference.predictor import Predictor
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion
from tests.exported import color_folder, table_folder
from tests.stores import storage_with_database

# Ray Data uses deprecated parts of its own dependencies.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    storage = tmp_path_factory.mktemp("storage")
    return separable_table(300).write(str(storage), "table", num_val=20, num_test=130)


@pytest.fixture(scope="module")
def version(table: DatasetVersion, tmp_path_factory: pytest.TempPathFactory) -> ModelVersion:
    folder = table_folder(tmp_path_factory.mktemp("model") / "rows", table.info)
    return ModelVersion("rows", 4, (), str(folder), "", "run", table.id, "")


@pytest.fixture(scope="module")
def predictor(version: ModelVersion) -> Predictor:
    return Predictor.open(Path(version.uri))


@pytest.fixture(scope="module", autouse=True)
def ray_is_up(cluster: Session) -> Session:
    # Modules that use Ray are imported once it is set up.
    return cluster


def test_a_split_is_answered_row_by_row_as_in_one_process(
    table: DatasetVersion, version: ModelVersion, predictor: Predictor, tmp_path: Path
) -> None:
    from aiplat.cluster.predict import BatchJob, predict_split

    target = str(tmp_path / "answers")
    job = BatchJob(version, predictor, InferenceConfig(batch_size=16), target, num_workers=2)
    summary = predict_split(job, table, "test")
    assert (summary.num_rows, summary.num_failed) == (130, 0)
    answers = pq.read_table(target).sort_by(ROW_ID)
    inputs = [item.name for item in predictor.task_inputs]
    [rows] = table.read("test", [ROW_ID, *inputs])
    assert answers[ROW_ID].to_pylist() == rows[ROW_ID].to_pylist()
    assert set(answers["model"].to_pylist()) == {"rows:4"}
    expected = predictor(rows.select(inputs).to_pylist())
    stored: list[Any] = answers["probabilities"].to_pylist()
    for found, answer in zip(stored, expected, strict=True):
        assert found == pytest.approx(answer["probabilities"], abs=1e-5)
    with pytest.raises(ConfigError, match=r"output=.* exists already"):
        predict_split(job, table, "test")


def test_images_of_a_folder_are_answered_and_the_broken_one_is_named(tmp_path: Path) -> None:
    from aiplat.cluster.predict import BatchJob, predict_files

    folder = color_folder(tmp_path / "colors")
    photos = tmp_path / "photos" / "of colors"
    photos.mkdir(parents=True)
    for color in ("red", "lime", "blue"):
        data = io.BytesIO()
        Image.new("RGB", (9, 9), color).save(data, "PNG")
        (photos / f"{color}.png").write_bytes(data.getvalue())
    (photos / "broken.png").write_bytes(b"\x89PNG")
    predictor = Predictor.open(folder)
    version = ModelVersion("colors", 1, (), str(folder), "", "run", "made@up", "")
    target = str(tmp_path / "answers")
    job = BatchJob(version, predictor, InferenceConfig(), target)
    summary = predict_files(job, file_rows(str(tmp_path / "photos"), predictor.task_inputs))
    assert (summary.num_rows, summary.num_failed) == (4, 1)
    [reason] = summary.errors
    assert "image" in reason
    answers = pq.read_table(target).sort_by("origin").to_pylist()
    assert [(row["origin"], row["label"]) for row in answers] == [
        ("of colors/blue.png", "blue"),
        ("of colors/broken.png", None),
        ("of colors/lime.png", "green"),
        ("of colors/red.png", "red"),
    ]


def test_a_split_is_measured_as_in_one_process(
    table: DatasetVersion, version: ModelVersion, predictor: Predictor
) -> None:
    from aiplat.cluster.evaluate import EvaluateJob, evaluate_split

    job = EvaluateJob(version, predictor, InferenceConfig(batch_size=16))
    seen: list[int] = []
    found = evaluate_split(job, table, "test", seen.append)
    whole = measure(predictor, table.read("test", predictor.task.columns)).compute()
    assert found.num_rows == seen[-1] == 130
    assert found.metrics.keys() == {"accuracy", "f1", "loss", "auc"}
    for name, value in found.metrics.items():
        assert value == pytest.approx(float(whole[name]), abs=1e-5)
    assert found.confusion is not None
    assert found.confusion.counts.tolist() == whole["confusion"].tolist()


def test_a_fault_in_the_pool_reaches_the_driver_as_it_was(
    table: DatasetVersion, version: ModelVersion, predictor: Predictor, tmp_path: Path
) -> None:
    from aiplat.cluster.predict import BatchJob, predict_split

    gone = replace(version, uri=str(tmp_path / "gone"))
    job = BatchJob(gone, predictor, InferenceConfig(), str(tmp_path / "answers"))
    with pytest.raises(RegistryError, match="the files of model version rows:4 are gone"):
        predict_split(job, table, "test")
    assert not (tmp_path / "answers").exists()


def test_the_jobs_work_from_a_registered_model_alone(
    table: DatasetVersion, version: ModelVersion, cluster: Session, tmp_path: Path
) -> None:
    storage = table.uri.partition("/datasets/")[0]
    Registry(storage_with_database(Path(storage))).register(version.uri, "rows", "champion")
    common = ["model=rows@champion", f"storage={storage}", f"cluster.address={cluster.address}"]
    jobs = {
        "evaluate": ["dataset.name=table"],
        "predict": ["input.dataset=table", f"output={tmp_path / 'answers'}"],
    }
    running = {
        job: subprocess.Popen(
            [sys.executable, "-m", f"aiplat.jobs.{job}", *common, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for job, arguments in jobs.items()
    }
    told = {job: process.communicate(timeout=300)[0] for job, process in running.items()}
    assert {process.returncode for process in running.values()} == {0}, told
    assert pq.read_table(tmp_path / "answers").num_rows == 130
    assert "130 rows answered by rows:1" in told["predict"]
    assert "accuracy" in told["evaluate"]
    [report] = Path(storage, "evaluations", "rows-1").iterdir()
    assert (report / "confusion.png").is_file()
