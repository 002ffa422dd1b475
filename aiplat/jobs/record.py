"""How a training run is written down, and what its end looks like on a console."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiplat.datasets.versions import DatasetVersion
from aiplat.jobs.schema import TrainConfig
from aiplat.registry.versions import ModelVersion
from aiplat.tracking.tracker import Tracker, run_record
from aiplat.training.result import FitResult
from aiplat.training.run import Run


def as_recorded(config: TrainConfig) -> dict[str, Any]:
    """The configuration as a run is known by; how it is searched is not part of it."""
    whole = asdict(config)
    del whole["tuning"]
    return whole


def begin_record(
    tracker: Tracker,
    run: Run,
    config: Mapping[str, Any],
    version: DatasetVersion,
    parent: str | None = None,
) -> None:
    """Begin the tracker's record of the run, or go on with it. parent: that of its study."""
    record = run_record(run.name, config, {"dataset": version.id, "run_dir": run.uri}, parent)
    tracking_id = tracker.start(record, resume=run.tracking_id)
    run.begin(version, tracking_id)
    for split in version.splits:
        tracker.log_input(version, split)


@contextmanager
def recorded(
    tracker: Tracker, run: Run, config: Mapping[str, Any], version: DatasetVersion
) -> Iterator[None]:
    """Keep the tracker's record of the run while the block trains it, and close it as that ends."""
    begin_record(tracker, run, config, version)
    with closed_at_the_end(tracker):
        yield


@contextmanager
def closed_at_the_end(tracker: Tracker) -> Iterator[None]:
    """Close a record that was begun, by how the block ends."""
    try:
        yield
    except KeyboardInterrupt:
        tracker.finish("stopped")
        raise
    except BaseException:
        tracker.finish("failed")
        raise
    tracker.finish("finished")


def show_outcome(
    console: Console,
    run: Run,
    version: DatasetVersion,
    result: FitResult,
    registered: ModelVersion | None,
) -> None:
    """Print what a finished run achieved, what it made and how to go on."""
    table = Table(
        title=f"Run {run.name}: {result.stopped_because}", show_header=False, min_width=60
    )
    table.add_row(
        "trained", f"{result.epochs} epochs, {result.steps} steps, {result.rows_seen} rows"
    )
    for split, metrics in (("val", result.metrics), ("test", result.test_metrics)):
        shown = "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
        if shown:
            table.add_row(f"{split} (best)", shown)
    table.add_row("dataset version", version.id)
    if registered is None:
        table.add_row("model", run.model)
    else:
        aliases = "".join(f" @{alias}" for alias in registered.aliases)
        table.add_row("model version", f"{registered.id}{aliases}")
        table.add_row("tracked in", registered.tracking_uri)
        table.add_row("serve it", escape(f"python -m aiplat.jobs.serve models=[{registered.id}]"))
    console.print(table)
