"""The jobs that run a model version over many rows: answers and metrics as in one process."""

import io
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from aiplat.cluster.session import Session
from aiplat.config.command import status
from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import ROW_ID, DatasetVersion
from aiplat.errors import RegistryError
from aiplat.inference.config import InferenceConfig
from aiplat.inference.evaluate import measure
from aiplat.inference.predictor import Predictor
from aiplat.jobs import evaluate, predict
from aiplat.jobs.schema import EvaluateConfig, PredictConfig
from aiplat.registry.mlflow import Registry
from aiplat.store.mlflow import open_client
from tests.exported import color_folder, table_folder
from tests.stores import storage_with_database

# Ray Data uses deprecated parts of its own dependencies.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

RunJob = Callable[..., str]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    return storage_with_database(tmp_path_factory.mktemp("storage"))


@pytest.fixture(scope="module")
def registry(storage: str) -> Registry:
    return Registry(storage)


@pytest.fixture(scope="module")
def table(storage: str) -> DatasetVersion:
    return separable_table(300).write(storage, "table", num_val=20, num_test=130)


@pytest.fixture(scope="module")
def predictor(
    table: DatasetVersion, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Predictor:
    """Registered as `rows`."""
    folder = table_folder(tmp_path_factory.mktemp("model") / "rows", table.info)
    registry.register(str(folder), "rows", "champion")
    return Predictor.open(folder)


@pytest.fixture
def run_job(
    storage: str,
    cluster: Session,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> RunJob:
    """Run a job on the cluster there is; the answer is what it printed."""
    for job in (evaluate, predict):
        monkeypatch.setattr(job, "joined", lambda _console, _config: nullcontext(cluster))

    def run(main: Any, name: str, root: type[Any], *overrides: str) -> str:
        code = status(main, name, root, [f"storage={storage}", *overrides])
        told = capsys.readouterr()
        assert code == 0, told.err
        return told.out

    return run


def test_a_split_is_answered_row_by_row_as_in_one_process(
    table: DatasetVersion, predictor: Predictor, run_job: RunJob, tmp_path: Path
) -> None:
    arguments = ["model=rows@champion", "input.dataset=table", f"output={tmp_path / 'answers'}"]
    told = run_job(
        predict.main,
        "predict",
        PredictConfig,
        *arguments,
        "num_workers=2",
        "inference.batch_size=16",
    )
    assert "130 rows answered by rows:1" in told
    assert "0 of them without an answer" in told
    answers = pq.read_table(tmp_path / "answers").sort_by(ROW_ID)
    inputs = [item.name for item in predictor.task_inputs]
    [rows] = table.read("test", [ROW_ID, *inputs])
    assert answers[ROW_ID].to_pylist() == rows[ROW_ID].to_pylist()
    assert set(answers["model"].to_pylist()) == {"rows:1"}
    expected = predictor(rows.select(inputs).to_pylist())
    stored: list[Any] = answers["probabilities"].to_pylist()
    for found, answer in zip(stored, expected, strict=True):
        assert found == pytest.approx(answer["probabilities"], abs=1e-5)


def test_images_of_a_folder_are_answered_and_the_broken_one_is_named(
    registry: Registry, run_job: RunJob, tmp_path: Path
) -> None:
    registry.register(str(color_folder(tmp_path / "colors")), "colors", "champion")
    photos = tmp_path / "photos" / "of colors"
    photos.mkdir(parents=True)
    for color in ("red", "lime", "blue"):
        data = io.BytesIO()
        Image.new("RGB", (9, 9), color).save(data, "PNG")
        (photos / f"{color}.png").write_bytes(data.getvalue())
    (photos / "broken.png").write_bytes(b"\x89PNG")
    arguments = ["model=colors", f"input.path={tmp_path}/photos", f"output={tmp_path}/answers"]
    told = run_job(predict.main, "predict", PredictConfig, *arguments)
    assert "1 of them without an answer" in told
    assert "1 x column 'image'" in told
    answers = pq.read_table(tmp_path / "answers").sort_by("origin").to_pylist()
    assert [(row["origin"], row["label"]) for row in answers] == [
        ("of colors/blue.png", "blue"),
        ("of colors/broken.png", None),
        ("of colors/lime.png", "green"),
        ("of colors/red.png", "red"),
    ]


def test_a_split_is_measured_as_in_one_process_and_the_metrics_are_recorded(
    table: DatasetVersion, predictor: Predictor, run_job: RunJob, registry: Registry, storage: str
) -> None:
    arguments = ["model=rows", "dataset.name=table", "inference.batch_size=16"]
    told = run_job(evaluate.main, "evaluate", EvaluateConfig, *arguments)
    [report] = Path(storage, "evaluations", "rows-1").iterdir()
    assert str(report) in told
    assert (report / "confusion.png").is_file()
    measured = json.loads((report / "metrics.json").read_text())
    whole = measure(predictor, table.read("test", predictor.task.columns)).compute()
    assert measured["num_rows"] == 130
    assert measured["metrics"].keys() == {"accuracy", "f1", "loss", "auc"}
    for name, value in measured["metrics"].items():
        assert value == pytest.approx(float(whole[name]), abs=1e-5)
    client = open_client(registry.uri)
    experiment = client.get_experiment_by_name("aiplat")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["test.accuracy"] == pytest.approx(float(whole["accuracy"]))
    assert run.data.tags["model"] == "rows:1"
    assert run.inputs.dataset_inputs[0].dataset.digest == table.version[:36]


def test_a_fault_in_the_pool_reaches_the_driver_as_it_was(
    table: DatasetVersion,
    predictor: Predictor,
    registry: Registry,
    cluster: Session,
    tmp_path: Path,
) -> None:
    # Imported once Ray is set up.
    import ray

    from aiplat.cluster.predict import BatchJob, predict_split

    gone = replace(registry.resolve("rows"), uri=str(tmp_path / "gone"))
    job = BatchJob(gone, predictor, InferenceConfig(), str(tmp_path / "answers"))
    with pytest.raises(RegistryError, match="the files of model version rows:1 are gone") as met:
        predict_split(job, table, "test")
    assert str(met.value).endswith("restore them")
    assert not (tmp_path / "answers").exists()
    # A process that stayed would keep its part of the cluster as long as this one lives.
    until = time.monotonic() + 20
    while ray.available_resources().get("CPU") != 2 and time.monotonic() < until:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == 2
