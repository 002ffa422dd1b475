"""Answer many rows with a model version; the answers become Parquet files."""

from datetime import UTC, datetime
from pathlib import PurePath

from rich.console import Console

from aiplat.config import command
from aiplat.datasets.catalog import LATEST, find_version
from aiplat.errors import ConfigError
from aiplat.jobs.joining import joined
from aiplat.jobs.schema import PredictConfig
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion
from aiplat.store import files


def main(config: PredictConfig) -> None:
    """Answer the rows of a dataset version or of files, and say where the answers are."""
    console = Console(highlight=False, soft_wrap=True)
    storage = files.absolute(config.storage)
    model, folder = Registry(storage, config.tracking.get("uri")).fetch(config.model)
    target = files.absolute(config.output) if config.output else _target(storage, model, config)
    if files.exists(target):
        raise ConfigError(f"output={target} exists already: remove it, or choose another one")
    dataset = None
    if config.input.dataset is not None:
        name, _, version = config.input.dataset.partition("@")
        dataset = find_version(storage, name, version or LATEST)
    # torch takes seconds to import: faults of the configuration are told before.
    from aiplat.inference.files import file_rows
    from aiplat.inference.predictor import Predictor

    predictor = Predictor.open(folder.path, "cpu")
    blocks = file_rows(config.input.path, predictor.task_inputs) if config.input.path else []
    with joined(console, config.cluster), console.status(f"answering with {model.id}"):
        from aiplat.cluster.predict import BatchJob, predict_files, predict_split

        job = BatchJob(model, predictor, config.inference, target, config.num_workers)
        if dataset is not None:
            summary = predict_split(job, dataset, config.input.split)
        else:
            summary = predict_files(job, blocks)
    console.print(
        f"{summary.num_rows} rows answered by {model.id} in {summary.seconds:.1f} s, "
        f"{summary.num_failed} of them without an answer"
    )
    for reason, count in summary.errors.items():
        console.print(f"  {count} x {reason}", markup=False)
    console.print(f"answers: {summary.uri}")


def _target(storage: str, model: ModelVersion, config: PredictConfig) -> str:
    """A new folder, called by the model, the rows and the time."""
    rows = config.input.dataset or PurePath(str(config.input.path)).name
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return files.join(storage, "predictions", f"{model.name}-{model.version}", f"{rows}-{now}")


if __name__ == "__main__":
    command.run(main, "predict", PredictConfig)
