"""Run a job on a cluster, show what it says, and exit as it does."""

import sys

from rich.console import Console

from aiplat.cluster.submission.client import DashboardJobs, dashboard_of
from aiplat.cluster.submission.submission import stop
from aiplat.config import command
from aiplat.errors import ClusterError
from aiplat.jobs.cluster_schema import SubmitConfig
from aiplat.jobs.submit_follow import Following
from aiplat.jobs.submit_run import run
from aiplat.jobs.submit_table import table_of

_WIDTH = 200


def main(config: SubmitConfig) -> None:
    """Do with the cluster's jobs what is asked."""
    # The standard output is the job's.
    console = Console(highlight=False, soft_wrap=True, stderr=True)
    if config.action == "run":
        _exit_with(run(console, config))
        return
    jobs = DashboardJobs(dashboard_of(config.address))
    if config.action == "list":
        # A program that reads the table has no use for lines that are cut to the width of a screen.
        width = None if sys.stdout.isatty() else _WIDTH
        Console(highlight=False, width=width).print(table_of(jobs.all()))
    elif config.action == "revive":
        from aiplat.cluster.submission.revival import revive

        for job_id in revive(jobs, str(config.storage)):
            console.print(f"{job_id} was started again")
    else:
        _look_after(console, config, jobs)


def _look_after(console: Console, config: SubmitConfig, jobs: DashboardJobs) -> None:
    job_id = str(config.job)
    if jobs.state(job_id) is None:
        known = ", ".join(state.id for state in jobs.all()[:5])
        raise ClusterError(
            f"{jobs.url} knows no job {job_id!r}; the latest it knows: {known or 'none'}"
        )
    if config.action == "stop":
        stop(jobs, job_id)
        console.print(f"{job_id} was asked to end")
    else:
        _exit_with(Following(console, job_id, config.address, jobs).run())


def _exit_with(status: int) -> None:
    if status:
        sys.exit(status)


if __name__ == "__main__":
    command.run(main, "submit", SubmitConfig)
