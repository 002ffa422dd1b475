"""A training configuration as what is trained: for one run, and for each trial of a search."""

from aiplat.datasets.versions import DatasetVersion
from aiplat.jobs.schema import TrainConfig
from aiplat.store import files
from aiplat.training.job import TrainJob
from aiplat.training.optim import optimizer_from, schedule_from
from aiplat.training.recipe import Recipe


def train_job(
    config: TrainConfig, run_dir: str, version: DatasetVersion, begin_from: str | None = None
) -> TrainJob:
    """The job of a configuration.

    run_dir: the run's folder. begin_from: that of another run, to begin with its weights.
    """
    recipe = Recipe(
        dataset=config.dataset,
        make_optimizer=optimizer_from(config.optim) if config.optim else None,
        make_schedule=schedule_from(config.schedule) if config.schedule else None,
        loop=config.loop,
        checkpoint=config.checkpoint,
        seed=config.seed,
        cache=files.join(files.absolute(config.storage), "cache"),
        begin_from=begin_from,
    )
    return TrainJob(run_dir, version, config.model, config.task, recipe)
