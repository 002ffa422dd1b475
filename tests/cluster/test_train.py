"""Training on a real cluster: the promises that only processes which die can test."""

import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import safetensors.torch

from aiplat.cluster.scale import ScaleConfig
from aiplat.cluster.session import Session
from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ClusterError
from aiplat.training.config import CheckpointConfig, DatasetConfig, LoopConfig
from aiplat.training.divergence import DivergenceError
from aiplat.training.export import export_run
from aiplat.training.job import TrainJob
from aiplat.training.optim import optimizer_from, schedule_from
from aiplat.training.recipe import Recipe
from aiplat.training.records import read_samples
from aiplat.training.result import read_result
from tests.cluster.processes import end
from tests.stores import storage_with_database

# Ray uses deprecated parts of its own dependencies.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

MODEL = {"_target_": "aiplat.models.tabular.TabularNetwork", "dropout": 0.0}
TASK = {
    "_target_": "aiplat.tasks.tabular_classification.TabularClassification",
    "label": {"_target_": "aiplat.tasks.labels.LabelColumn"},
}
Event = dict[str, Any]


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    storage = str(tmp_path_factory.mktemp("storage"))
    return separable_table(1111).write(storage, "table", num_val=101, num_test=103)


def job(run_dir: Path, version: DatasetVersion, lr: float = 0.01) -> TrainJob:
    recipe = Recipe(
        dataset=DatasetConfig(name="table", batch_size=64),
        make_optimizer=optimizer_from({"_target_": "torch.optim.AdamW", "lr": lr}),
        make_schedule=schedule_from({"_target_": "aiplat.training.optim.one_cycle"}),
        loop=LoopConfig(max_epochs=3, precision="fp32", log_every_steps=1),
        checkpoint=CheckpointConfig(every_steps=5),
    )
    return TrainJob(str(run_dir), version, MODEL, TASK, recipe)


def train(
    job: TrainJob,
    num_workers: int,
    watch: Callable[[Event], None],
    strategy: Literal["ddp", "fsdp"] = "ddp",
) -> Any:
    from aiplat.cluster.train import train_on_cluster

    return train_on_cluster(job, ScaleConfig(num_workers=num_workers, strategy=strategy), watch)


def is_each_row_once(run_dir: Path, epoch: int, version: DatasetVersion) -> bool:
    seen = np.sort(read_samples(str(run_dir), epoch))
    return np.array_equal(seen, np.arange(version.num_rows("train")))


def starts(events: list[Event]) -> list[Event]:
    return [event for event in events if event["kind"] == "start"]


def causes(events: list[Event]) -> list[str]:
    return [event["text"] for event in events if event["kind"] == "failure"]


def losses(events: list[Event]) -> list[float]:
    return [event["loss"] for event in events if event["kind"] == "step"]


def test_two_workers_learn_what_one_learns_step_by_step(
    cluster: Session, tmp_path: Path, version: DatasetVersion
) -> None:
    alone: list[Event] = []
    together: list[Event] = []
    train(job(tmp_path / "one", version), 1, alone.append)
    result = train(job(tmp_path / "two", version), 2, together.append)
    assert len(losses(alone)) == 3 * math.ceil(version.num_rows("train") / 64)
    assert np.allclose(losses(alone), losses(together), atol=1e-3)
    assert result.test_metrics["accuracy"] > 0.8
    for epoch in (1, 2, 3):
        assert is_each_row_once(tmp_path / "two", epoch, version)
    assert [event["world_size"] for event in starts(together)] == [2]


def test_a_killed_worker_costs_no_row_and_no_repetition(
    cluster: Session, tmp_path: Path, version: DatasetVersion
) -> None:
    events: list[Event] = []

    def watch(event: Event) -> None:
        events.append(event)
        # Once, in the middle of the second epoch.
        if event["kind"] == "step" and event["step"] == 22 and len(starts(events)) == 1:
            end("RayTrainWorker", at_most=1)

    result = train(job(tmp_path / "run", version), 2, watch)
    assert result.attempts == 2
    assert len(starts(events)) == 2
    (cause,) = causes(events)
    assert re.fullmatch(r"lost at step \d+ on rank [01]: its process died", cause)
    for epoch in (1, 2, 3):
        assert is_each_row_once(tmp_path / "run", epoch, version)


def test_workers_that_hold_a_part_of_the_model_each_train_one_that_can_be_registered(
    cluster: Session, tmp_path: Path, version: DatasetVersion
) -> None:
    events: list[Event] = []
    run = job(tmp_path / "run", version)
    result = train(run, 2, events.append, strategy="fsdp")
    assert [event["strategy"] for event in starts(events)] == ["fsdp"]
    assert result.test_metrics["accuracy"] > 0.8
    assert is_each_row_once(tmp_path / "run", 3, version)
    folder = export_run(run, "table", {"name": "run"}, result)
    exported = safetensors.torch.load_file(Path(folder) / "model.safetensors")
    assert exported.keys() == run.build().model.state_dict().keys()


def test_what_the_training_code_raises_ends_the_run_at_once_and_as_itself(
    cluster: Session, tmp_path: Path, version: DatasetVersion
) -> None:
    events: list[Event] = []
    with pytest.raises(DivergenceError, match=r"the loss became (nan|inf) at step"):
        train(job(tmp_path / "run", version, lr=1e30), 2, events.append)
    assert len(starts(events)) == 1
    (cause,) = causes(events)
    assert re.match(r"nan at step \d on rank [01]: the loss became (nan|inf) at step", cause)


def test_more_workers_than_the_cluster_can_hold_are_refused_before_anything_starts(
    cluster: Session, tmp_path: Path, version: DatasetVersion
) -> None:
    from aiplat.cluster.train import train_on_cluster

    scale = ScaleConfig(num_workers=3, cpus_per_worker=1.0)
    with pytest.raises(ClusterError, match="needs 3 CPUs, the cluster has 2"):
        train_on_cluster(job(tmp_path, version), scale, lambda _: None)


def test_a_run_whose_process_group_is_killed_goes_on_when_started_again(
    cluster: Session, tmp_path: Path
) -> None:
    storage = storage_with_database(tmp_path)
    version = separable_table(8_000).write(storage, "table", num_val=50, num_test=50)
    experiment = tmp_path / "conf" / "exp" / "cut.yaml"
    experiment.parent.mkdir(parents=True)
    experiment.write_text(CUT)
    command = [sys.executable, "-m", "aiplat.jobs.train", "--config-dir", str(tmp_path / "conf")]
    command += ["+exp=cut", f"storage={storage}", f"cluster.address={cluster.address}"]
    run_dir = tmp_path / "runs" / "cut"

    def mid_second_epoch() -> bool:
        segments = (run_dir / "samples" / "epoch-0002").glob("*.npy")
        return any(segments)

    process = subprocess.Popen(command, start_new_session=True)
    while not mid_second_epoch():
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = len(read_samples(str(run_dir), 2))
    assert 0 < before < version.num_rows("train")
    assert read_result(str(run_dir)) is None
    subprocess.run(command, check=True)
    result = read_result(str(run_dir))
    assert result is not None
    assert result.attempts == 2
    for epoch in (1, 2):
        assert is_each_row_once(run_dir, epoch, version)


CUT = """
# @package _global_
name: cut
dataset: {name: table, batch_size: 16}
model: {_target_: aiplat.models.tabular.TabularNetwork}
task:
  _target_: aiplat.tasks.tabular_classification.TabularClassification
  label: {_target_: aiplat.tasks.labels.LabelColumn}
loop: {max_epochs: 2}
checkpoint: {every_steps: 100}
scale: {num_workers: 2}
"""
