"""Clusters that are processes of this machine: started, ended, shown."""

from pathlib import Path

from rich.console import Console

from aiplat.cluster.definition import ClusterDefinition
from aiplat.cluster.render.commands import Action
from aiplat.jobs.cluster_table import table_of


def act_here(console: Console, cluster: ClusterDefinition, action: Action, storage: Path) -> None:
    """Start the cluster, end it or say what is in it; its record lies below `storage`."""
    # Starting a cluster imports Ray.
    from aiplat.cluster import local
    from aiplat.cluster.status import node_counts

    folder = storage / "clusters" / cluster.name
    if action == "up":
        with console.status("Starting nodes"):
            started = local.start(cluster, folder)
        console.print(f"{cluster.name} is up with {len(started.nodes)} nodes at {started.address}")
        console.print(f"Dashboard: {started.dashboard_url}")
        console.print(f"Jobs join it by themselves, or with cluster.address={started.address}")
        _revive(console, started.dashboard_url, str(storage))
        return
    found = local.find(folder)
    if found is None or (action == "status" and not found.is_running()):
        console.print(f"{cluster.name} is not up.")
    elif action == "down":
        console.print(f"{cluster.name} is down: {local.stop(found, folder)} processes were ended.")
    else:
        console.print(f"{cluster.name} is up at {found.address}, dashboard: {found.dashboard_url}")
        console.print(table_of(cluster, node_counts(found.address)))


def _revive(console: Console, url: str, storage: str) -> None:
    """Start again what was supervised on a cluster that is no more."""
    from aiplat.cluster.submission.client import DashboardJobs
    from aiplat.cluster.submission.record import unfinished
    from aiplat.cluster.submission.revival import revive

    if any(unfinished(storage)):
        for job_id in revive(DashboardJobs(url), storage):
            console.print(f"{job_id} was started again")
