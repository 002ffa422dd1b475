"""Let a version of a model take over from the one an endpoint serves; roll back by itself."""

import signal
from contextlib import closing
from typing import Any, NoReturn

from rich.console import Console

from aiplat.cluster.session import connect
from aiplat.config import command
from aiplat.errors import AiplatError
from aiplat.jobs.serving_schema import ReleaseConfig
from aiplat.registry.mlflow import Registry
from aiplat.store import files


def main(config: ReleaseConfig) -> None:
    """Try the candidate step by step, move the alias or roll back, and write the report."""
    console = Console(soft_wrap=True, highlight=False)
    storage = files.absolute(config.storage)
    registry = Registry(storage, config.tracking.get("uri"))
    candidate = registry.resolve(config.candidate_reference)
    with connect(config.cluster):
        # Ray reads its settings while it is imported, and `connect` makes them.
        from aiplat.cluster.candidates import RunningEndpoint
        from aiplat.jobs.release_run import ReleaseRun
        from aiplat.jobs.release_watch import ReleaseWatch, show_report
        from aiplat.serving.releases.release import SUCCEEDED
        from aiplat.serving.releases.store import ReleaseStore
        from aiplat.store.records import open_records

        signal.signal(signal.SIGTERM, _interrupt)
        endpoint = RunningEndpoint.find()
        # That of the endpoint: it reads there what it is to do.
        with closing(open_records(endpoint.books.records, create=False)) as records:
            store = ReleaseStore(records)
            run = ReleaseRun(config, registry, candidate, endpoint, store, console)
            run.check()
            with ReleaseWatch(console) as watch:
                report = run.run(watch)
        show_report(console, report)
        if report.outcome.state != SUCCEEDED:
            state = report.outcome.state.replace("_", " ")
            raise AiplatError(f"the release was {state}: {report.outcome.reason}")
        console.print(f"succeeded: {report.outcome.reason}", markup=False)


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    command.run(main, "release", ReleaseConfig)
