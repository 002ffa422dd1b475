"""A study as its folder has it: opened or taken up again, and its first trials laid down."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from omegaconf import OmegaConf
from optuna import get_all_study_names

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import ConfigError
from aiplat.inference.engines.engine import engine_of
from aiplat.jobs.plan import train_job
from aiplat.jobs.schema import TrainConfig
from aiplat.store import files
from aiplat.store.lock import held
from aiplat.tasks.task import Task
from aiplat.training.job import TrainJob
from aiplat.training.run import FREE, check_unchanged
from aiplat.tuning.database import database_url, open_database, study_folder
from aiplat.tuning.notes import VALUES
from aiplat.tuning.objectives import directions
from aiplat.tuning.space import Space
from aiplat.tuning.study import Study

_CONFIG = "config.yaml"
_STATE = "study.json"
_EAGER = "eager"
_CONSTANT = "aiplat.training.optim.constant"
# What may differ when a study is continued, besides what may when a run is.
_FREE = (
    "name",
    "tuning.num_trials",
    "tuning.max_seconds",
    "tuning.max_concurrent",
    "tuning.enqueue",
    "tuning.warm_start",
    "tuning.warm_start_trials",
    "tuning.patience",
    "tuning.max_lost",
    "tuning.keep",
)


@dataclass
class OpenStudy:
    """A study that this process holds.

    job: the experiment without any of its settings changed, and task: what it trains. url: of the
    database, as `optuna-dashboard` takes it.
    """

    name: str
    folder: str
    url: str
    study: Study
    space: Space
    job: TrainJob
    task: Task

    @property
    def tracking_id(self) -> str | None:
        """What the tracker calls the study; None before it began."""
        path = files.join(self.folder, _STATE)
        return str(files.read_json(path)["tracking_id"]) if files.exists(path) else None

    @tracking_id.setter
    def tracking_id(self, tracking_id: str) -> None:
        files.write_json(files.join(self.folder, _STATE), {"tracking_id": tracking_id})


@contextmanager
def open_study(config: TrainConfig, space: Space, version: DatasetVersion) -> Iterator[OpenStudy]:
    """Begin the study or take it up again, and hold it until the block ends.

    Raises ConfigError where the configuration differs from that which the study was begun with in
    what decides its outcome.
    """
    tuning = config.tuning.for_epochs(config.loop.max_epochs)
    _check_population(config)
    if tuning.engine != _EAGER:
        # What is not installed is said now, and not by the first trial.
        engine_of(tuning.engine).version()
    name = tuning.study or config.name
    folder = study_folder(config.storage, name)
    busy = f"tuning.study={name}: another process runs this study ({folder}); wait for it to end"
    with held(folder, busy):
        _check_same(name, folder, config)
        job = train_job(config, files.join(folder, "base"), version)
        task = job.build()
        url = database_url(folder, tuning.storage)
        study = Study(
            open_database(url),
            name,
            directions(tuning.objectives, task.maximize),
            space,
            tuning,
            config.seed,
        )
        opened = OpenStudy(name, folder, url, study, space, job, task)
        _lay_down(opened, config)
        # Only now: what was wrong before may be mended and tried again.
        _write_config(folder, config)
        yield opened


def _check_population(config: TrainConfig) -> None:
    if config.tuning.sampler != "pbt":
        return
    if config.scale.strategy == "fsdp":
        raise ConfigError("tuning.sampler=pbt hands on whole weights: set scale.strategy=ddp")
    if config.schedule is not None and config.schedule["_target_"] != _CONSTANT:
        raise ConfigError(
            "schedule moves the learning rate over a run, and with tuning.sampler=pbt every "
            "generation is one: set schedule=constant"
        )


def _check_same(name: str, folder: str, config: TrainConfig) -> None:
    path, now = files.join(folder, _CONFIG), asdict(config)
    if not files.exists(path):
        return
    before = OmegaConf.to_container(OmegaConf.create(files.read_bytes(path).decode()))
    free = [*(path for path in FREE if path != "tuning"), *_FREE]
    advice = (
        f"choose another tuning.study= for this one (tuning.warm_start={name} begins where it is)"
    )
    check_unchanged(f"study {name!r} ({folder})", before, now, free, advice)


def _write_config(folder: str, config: TrainConfig) -> None:
    path = files.join(folder, _CONFIG)
    if not files.exists(path):
        files.write_bytes(path, OmegaConf.to_yaml(OmegaConf.create(asdict(config))).encode())


def _lay_down(opened: OpenStudy, config: TrainConfig) -> None:
    """Have the trials wait in the study that come before what the sampler suggests."""
    tuning, study, space = config.tuning, opened.study, opened.space
    for index, point in enumerate(tuning.enqueue):
        study.suggest_first([space.checked(point, f"tuning.enqueue[{index}]")], "enqueue")
    if tuning.warm_start is not None:
        study.suggest_first(_earlier(opened, config), f"study {tuning.warm_start}")
    if tuning.sampler == "grid":
        study.suggest_first(space.grid(), "grid")


def _earlier(opened: OpenStudy, config: TrainConfig) -> list[dict[str, Any]]:
    """The settings of the best trials of an earlier study, as far as this space has them."""
    tuning = config.tuning
    name = str(tuning.warm_start)
    folder = study_folder(config.storage, name)
    is_there = tuning.storage is not None or files.exists(folder)
    storage = open_database(database_url(folder, tuning.storage)) if is_there else None
    if storage is None or name == opened.name or name not in get_all_study_names(storage):
        there = files.list_folders(study_folder(config.storage, ""))
        raise ConfigError(
            f"tuning.warm_start is {name!r}, expected another study "
            f"(there are: {', '.join(there) or 'none'})"
        )
    goals = directions(tuning.objectives, opened.task.maximize)
    earlier = Study(storage, name, goals, opened.space, tuning, config.seed)
    best = earlier.ranked()[: tuning.warm_start_trials]
    known = {parameter.path: parameter for parameter in opened.space.parameters}
    return [
        {
            path: value
            for path, value in trial.user_attrs[VALUES].items()
            if path in known and known[path].holds(value)
        }
        for trial in best
    ]
