"""Start a cluster, end it, say what is in it, or write the files that start it elsewhere."""

import subprocess
from pathlib import Path

from rich.console import Console

from aiplat.cluster.definition import ClusterDefinition
from aiplat.cluster.render.commands import Action, command
from aiplat.cluster.render.documents import write_documents
from aiplat.config import command as commands
from aiplat.errors import ClusterError, ConfigError
from aiplat.jobs.cluster_schema import ClusterJobConfig
from aiplat.jobs.cluster_table import table_of
from aiplat.store import files

_LOCAL = ("local", "autoscaling_local")


def main(config: ClusterJobConfig) -> None:
    """Do with the cluster what is asked."""
    console = Console(highlight=False, soft_wrap=True)
    cluster, output = config.cluster, Path(config.output)
    if config.action == "render":
        _tell_written(console, write_documents(cluster, output))
    elif cluster.provider in _LOCAL:
        storage = files.absolute(config.storage)
        if files.is_remote(storage):
            raise ConfigError(
                f"storage={storage}: the record of a cluster of this machine is a file"
            )
        _act_here(console, cluster, config.action, Path(storage, "clusters", cluster.name))
    else:
        if config.action == "up":
            _tell_written(console, write_documents(cluster, output))
        _call(command(cluster, config.action, output))


def _act_here(console: Console, cluster: ClusterDefinition, action: Action, folder: Path) -> None:
    # Starting a cluster imports Ray.
    from aiplat.cluster import local
    from aiplat.cluster.status import node_counts

    if action == "up":
        with console.status("Starting nodes"):
            started = local.start(cluster, folder)
        console.print(f"{cluster.name} is up with {len(started.nodes)} nodes at {started.address}")
        console.print(f"Dashboard: {started.dashboard_url}")
        console.print(f"Jobs join it by themselves, or with cluster.address={started.address}")
        return
    found = local.find(folder)
    if found is None or (action == "status" and not found.is_running()):
        console.print(f"{cluster.name} is not up.")
    elif action == "down":
        console.print(f"{cluster.name} is down: {local.stop(found, folder)} processes were ended.")
    else:
        console.print(f"{cluster.name} is up at {found.address}, dashboard: {found.dashboard_url}")
        console.print(table_of(cluster, node_counts(found.address)))


def _tell_written(console: Console, written: list[Path]) -> None:
    for file in written:
        console.print(f"wrote {file}")


def _call(called: list[str]) -> None:
    try:
        done = subprocess.run(called, check=False)  # noqa: S603 - our own arguments
    except FileNotFoundError as error:
        raise ClusterError(f"{called[0]} is not installed on this machine") from error
    if done.returncode:
        raise ClusterError(f"'{' '.join(called)}' ended with status {done.returncode}")


if __name__ == "__main__":
    commands.run(main, "cluster", ClusterJobConfig)
