"""Measure a model version on a split of a dataset version."""

import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from aiplat.config import command, targets
from aiplat.datasets.catalog import find_version
from aiplat.datasets.versions import DatasetVersion
from aiplat.jobs.joining import joined
from aiplat.jobs.schema import EvaluateConfig, EvaluationData
from aiplat.registry.mlflow import Registry
from aiplat.store import files


def main(config: EvaluateConfig) -> None:
    """Measure, show and record the metrics, and write a report of them."""
    console = Console(highlight=False, soft_wrap=True)
    storage = files.absolute(config.storage)
    model, folder = Registry(storage, config.tracking.get("uri")).fetch(config.model)
    dataset = find_data(storage, config.dataset, folder.dataset)
    num_rows, split = dataset.num_rows(config.dataset.split), config.dataset.split
    # torch takes seconds to import: faults of the configuration are told before.
    from aiplat.inference.predictor import Predictor
    from aiplat.inference.report import write_report
    from aiplat.tracking.tracker import run_record

    predictor = Predictor.open(folder.path, "cpu")
    with joined(console, config.cluster), Progress(console=console) as progress:
        from aiplat.cluster.evaluate import EvaluateJob, evaluate_split

        bar = progress.add_task(f"measuring {model.id}", total=num_rows)
        job = EvaluateJob(model, predictor, config.inference, config.num_workers)
        found = evaluate_split(
            job, dataset, split, lambda done: progress.update(bar, completed=done)
        )
    tracker = targets.build(config.tracking, storage=storage)
    tags = {"job": "evaluate", "model": model.id, "dataset": dataset.id, "split": split}
    tracker.start(run_record(f"evaluate {model.id}", asdict(config), tags))
    tracker.log_input(dataset, split)
    tracker.log({f"{split}.{name}": value for name, value in found.metrics.items()}, 0)
    report = files.join(
        storage, "evaluations", f"{model.name}-{model.version}", f"{dataset.id}-{split}"
    )
    with tempfile.TemporaryDirectory() as scratch:
        write_report(Path(scratch), model.id, found)
        files.copy_folder(scratch, report)
        tracker.log_artifacts(Path(scratch), "report")
    tracker.finish("finished")
    table = Table(title=f"{model.id} on {split} of {dataset.id}: {found.num_rows} rows")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for name, value in found.metrics.items():
        table.add_row(name, f"{value:.4f}")
    console.print(table)
    console.print(f"report: {report}")


def find_data(storage: str, wanted: EvaluationData, trained_on: str) -> DatasetVersion:
    """The dataset version to measure on; by default the one the model was trained on."""
    name, _, version = trained_on.rpartition("@")
    if wanted.name in (None, name):
        return find_version(storage, name, wanted.version or version)
    return find_version(storage, str(wanted.name), wanted.version or "latest")


if __name__ == "__main__":
    command.run(main, "evaluate", EvaluateConfig)
