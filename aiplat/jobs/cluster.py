"""Start a cluster, end it, say what is in it, or write the files that start it elsewhere."""

import subprocess
from pathlib import Path

from rich.console import Console

from aiplat.cluster.render.commands import command
from aiplat.cluster.render.documents import write_documents
from aiplat.config import command as commands
from aiplat.errors import ClusterError, ConfigError
from aiplat.jobs.cluster_here import act_here
from aiplat.jobs.cluster_schema import ClusterJobConfig
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
        act_here(console, cluster, config.action, Path(storage))
    else:
        if config.action == "up":
            _tell_written(console, write_documents(cluster, output))
        _call(command(cluster, config.action, output))


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
