"""Ray nodes as processes of this machine: `ray start`, and whatever descends from it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from aiplat.cluster.ports import free_ports
from aiplat.errors import ClusterError

_UP = "Ray runtime started"
_START_TIMEOUT_S = 120.0
# Ray takes a third of the memory for each node's store otherwise.
_STORE_BYTES = 512 << 20
_AGENT_PORTS = (
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "metrics-export-port",
    "runtime-env-agent-port",
)
# Of the numbers in /proc/<pid>/stat, after the name: the parent, and when the process began.
_PARENT, _BEGAN = 1, 19


def launch(
    arguments: Sequence[str], output: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a node with these arguments of `ray start`; what it says goes into `output`.

    The process stays the ancestor of all that belongs to the node, and outlives this one.
    """
    ports = free_ports(len(_AGENT_PORTS))
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
    command += [
        f"--object-store-memory={_STORE_BYTES}",
        # Left to be found, a busy node waits for its agent to name them, and gives up.
        *(f"--{name}={port}" for name, port in zip(_AGENT_PORTS, ports, strict=True)),
        "--disable-usage-stats",
        "--block",
    ]
    with output.open("wb") as file:
        return subprocess.Popen(  # noqa: S603 - our own arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


def node_environment(address: str) -> dict[str, str]:
    """The environment of a node of the cluster at `address`."""
    autoscaler_port, metric_port = free_ports(2)
    return {
        **os.environ,
        # Jobs that are submitted run the `python` that is found there.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # Parts of Ray look for "the" cluster of the machine; it may have others.
        "RAY_ADDRESS": address,
        # A node that starts on a busy machine gives up after half a minute otherwise.
        "RAY_raylet_start_wait_time_s": f"{_START_TIMEOUT_S:.0f}",
        # Fixed ports otherwise, which another head may have taken.
        "AUTOSCALER_METRIC_PORT": str(autoscaler_port),
        "DASHBOARD_METRIC_PORT": str(metric_port),
    }


def wait_until_joined(process: subprocess.Popen[bytes], output: Path) -> None:
    """Return once the node is part of its cluster. Raises ClusterError where it does not get so."""
    until = time.monotonic() + _START_TIMEOUT_S
    while not has_joined(process, output):
        if time.monotonic() > until:
            raise ClusterError(
                f"a node on this machine did not start within {_START_TIMEOUT_S:.0f} s: "
                f"{_told(output)}"
            )
        time.sleep(0.1)


def has_joined(process: subprocess.Popen[bytes], output: Path) -> bool:
    """Whether the node is part of its cluster; ClusterError where it ended instead."""
    told = _told(output)
    if process.poll() is not None:
        raise ClusterError(f"a node on this machine ended while it started: {told}")
    return _UP in told


def _told(output: Path) -> str:
    return output.read_text(errors="replace")


def descendants(pid: int) -> list[int]:
    """The processes that descend from one, parents before children."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found = list(children.get(pid, []))
    for process in found:
        found += children.get(process, [])
    return found


def began(pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where there is none.

    With its number it names a process for good: numbers are used again.
    """
    stat = _stat(Path(f"/proc/{pid}"))
    return stat[_BEGAN] if stat else None


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        if stat := _stat(folder):
            yield int(folder.name), stat[_PARENT]


def _stat(folder: Path) -> list[int] | None:
    try:
        stat = (folder / "stat").read_text()
    except OSError:
        # It ended meanwhile.
        return None
    # The name, in parentheses, may hold anything; after it comes the state, as a letter.
    state, *numbers = stat.rpartition(")")[2].split()
    # One that ended may be there for long: until its parent has asked how.
    return None if state == "Z" else [0, *map(int, numbers)]


def title(pid: int) -> bytes:
    """The command line of a process, its parts ended by zeros; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def kill(pids: Iterable[int]) -> None:
    """SIGKILL processes; those that ended already are passed over."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
