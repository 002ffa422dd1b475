"""A LightningModule from its configuration to a model version that answers, without a cluster."""

from dataclasses import asdict
from pathlib import Path

import pytest

from aiplat.config.compose import compose
from aiplat.datasets.synthetic import short_reviews
from aiplat.errors import ConfigError
from aiplat.inference.predictor import Predictor
from aiplat.jobs.schema import TrainConfig
from aiplat.training.export import export_run
from aiplat.training.job import TrainJob
from aiplat.training.lightning.task import LightningTask
from aiplat.training.local import LocalWorker, tables_of
from aiplat.training.loop import fit
from aiplat.training.optim import optimizer_from
from aiplat.training.recipe import Recipe

SMALL = (
    "+exp=bert_lightning",
    "model.encoder.pretrained=null",
    "model.encoder.sizes={width: 16, layers: 1, heads: 2, vocab_size: 300}",
    "model.lr=0.01",
    "dataset.batch_size=16",
)


def config_and_job(folder: Path, *overrides: str) -> tuple[TrainConfig, TrainJob]:
    version = short_reviews(200).write(str(folder / "storage"), "reviews", num_val=40, num_test=40)
    config = compose("train", TrainConfig, [*SMALL, *overrides])
    optimizer = optimizer_from(config.optim) if config.optim else None
    recipe = Recipe(config.dataset, optimizer, loop=config.loop, checkpoint=config.checkpoint)
    return config, TrainJob(str(folder / "run"), version, config.model, config.task, recipe)


def test_it_is_rehearsed_trained_exported_and_answers(tmp_path: Path) -> None:
    config, job = config_and_job(tmp_path)
    task = job.build()
    assert isinstance(task, LightningTask)
    job.rehearse(task)
    worker = LocalWorker(tables_of(job.version, task), task, job.run_dir)
    result = fit(task, worker, job.recipe)
    assert result.test_metrics["accuracy"] > 0.9
    folder = export_run(job, "reviews", asdict(config), result)
    predictor = Predictor.open(Path(folder))
    field = predictor.task_inputs[0]
    assert set(predictor([{field.name: field.example}])[0]) == {"label", "probabilities"}


def test_what_every_worker_would_refuse_the_rehearsal_does(tmp_path: Path) -> None:
    _, job = config_and_job(tmp_path, "optim=adamw")
    with pytest.raises(ConfigError, match="set optim=null to take the model's"):
        job.rehearse(job.build())
