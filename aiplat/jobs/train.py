"""Train a model for a task on a dataset version, on the cluster."""

from concurrent.futures import ThreadPoolExecutor

from rich.console import Console

from aiplat.config import command, targets
from aiplat.datasets.catalog import find_version
from aiplat.jobs.joining import joined
from aiplat.jobs.schema import TrainConfig
from aiplat.store import files


def main(config: TrainConfig) -> None:
    """Start the run, or go on with it; then export its best weights and register them."""
    # torch takes seconds to import: faults of the configuration are told before.
    from aiplat.jobs.plan import train_job
    from aiplat.jobs.record import as_recorded, recorded, show_outcome
    from aiplat.jobs.watch import RunWatch
    from aiplat.registry.mlflow import Registry
    from aiplat.training.export import export_run
    from aiplat.training.result import read_result
    from aiplat.training.run import open_run
    from aiplat.training.run_log import RunLog

    console = Console(highlight=False, soft_wrap=True)
    storage, whole = files.absolute(config.storage), as_recorded(config)
    tracker = targets.build(config.tracking, storage=storage)
    with open_run(storage, config.name, whole) as run:
        version = find_version(storage, config.dataset.name, run.version or config.dataset.version)
        job = train_job(config, run.uri, version)
        result = read_result(run.uri)
        if result is None:
            # The first start of a tracker makes a database, which takes as long as a cluster.
            opening = ThreadPoolExecutor(1).submit(tracker.open)
            with RunLog(run.uri) as log, joined(console, config.cluster) as session:
                from aiplat.cluster.train import train_on_cluster

                opening.result()
                with (
                    recorded(tracker, run, whole, version),
                    RunWatch(console, tracker, log) as watch,
                ):
                    result = train_on_cluster(
                        job, config.scale, watch, can_grow=not session.started_here
                    )
        else:
            console.print(f"Run {config.name} is finished; another name= starts another one.")
        folder = export_run(job, config.register.name or config.name, whole, result)
        registered = None
        if config.register.name:
            registered = Registry(storage, config.tracking.get("uri")).register(
                folder, config.register.name, config.register.alias, run.tracking_id
            )
    show_outcome(console, run, version, result, registered)


if __name__ == "__main__":
    command.run(main, "train", TrainConfig)
