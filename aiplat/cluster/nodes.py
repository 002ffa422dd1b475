"""A Ray cluster of several nodes on this machine, each a tree of processes that can be killed.

What a node says it has is made up: it decides where workers are placed, not what they compute with.
It knows nothing of what runs on it, and ends nothing that it did not start.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from aiplat.cluster.ports import free_ports
from aiplat.cluster.session import settle_environment
from aiplat.errors import ClusterError

_LOCALHOST = "127.0.0.1"
_UP = "Ray runtime started"
_START_TIMEOUT_S = 120.0
_END_TIMEOUT_S = 20.0
_TERMINATED = 128 + signal.SIGTERM
# Ray takes a third of the memory for each node's store otherwise.
_STORE_BYTES = 512 << 20
_AGENT_PORTS = (
    "dashboard-agent-grpc-port",
    "dashboard-agent-listen-port",
    "metrics-export-port",
    "runtime-env-agent-port",
)
_WORKER_TITLE = b"RayTrainWorker"
_NODE_ID = b"--node_id="


@dataclass(frozen=True)
class Node:
    """One node. pid: of the process that all others of the node descend from."""

    number: int
    num_cpus: int
    pid: int

    def processes(self) -> list[int]:
        """The processes of the node, those it was started with and those that Ray started."""
        return [self.pid, *descendants(self.pid)]

    def train_workers(self) -> list[int]:
        """The processes of training workers on this node, the oldest first."""
        return sorted(pid for pid in self.processes() if _WORKER_TITLE in _title(pid))

    def ray_id(self) -> str:
        """What Ray calls the node."""
        for pid in self.processes():
            for argument in _title(pid).split(b"\0"):
                if argument.startswith(_NODE_ID):
                    return argument.removeprefix(_NODE_ID).decode()
        raise ClusterError(f"node {self.number} of this machine does not run")


class LocalNodes:
    """A head without CPUs, and nodes that come and go; all of them end with the block."""

    def __init__(self, num_cpus: list[int]) -> None:
        self.num_cpus = num_cpus
        self.nodes: list[Node] = []
        self.port, self.dashboard_port, self.client_port = free_ports(3)
        self.address = f"{_LOCALHOST}:{self.port}"
        self._started: list[subprocess.Popen[bytes]] = []
        # Ray puts sockets there, whose paths may not be longer than 107 characters.
        self._folder = tempfile.TemporaryDirectory(prefix="nodes-", ignore_cleanup_errors=True)

    def __enter__(self) -> "LocalNodes":
        settle_environment()
        # By itself, a process that is told to end leaves without ending the nodes.
        self._before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
        try:
            self._start(
                "--head",
                f"--port={self.port}",
                f"--dashboard-port={self.dashboard_port}",
                f"--ray-client-server-port={self.client_port}",
                "--num-cpus=0",
            )
            # One after the other: their sockets lie in one folder, where each takes a free name.
            for num_cpus in self.num_cpus:
                self.wait(self.begin(num_cpus))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in reversed(self._started):
            _kill([process.pid, *descendants(process.pid)])
        for process in self._started:
            process.wait(_END_TIMEOUT_S)
        self._folder.cleanup()
        signal.signal(signal.SIGTERM, self._before)

    def begin(self, num_cpus: int) -> Node:
        """Start a node; `wait` returns once it is there."""
        process = self._launch(f"--address={self.address}", f"--num-cpus={num_cpus}")
        node = Node(len(self._started) - 1, num_cpus, process.pid)
        self.nodes.append(node)
        return node

    def is_up(self, node: Node) -> bool:
        """Whether a node that was begun has joined; ClusterError where it ended instead."""
        process = self._started[node.number]
        return self._has_joined(process, node.number)

    def wait(self, node: Node) -> None:
        """Return once the node has joined."""
        self._await(self._started[node.number], node.number)

    def give_notice(self, node: Node, seconds: int) -> None:
        """Tell the cluster that it will lose the node by then, as providers of spot machines do.

        Raises ClusterError where Ray does not take the notice.
        """
        command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node"]
        command += [f"--address={self.address}", f"--node-id={node.ray_id()}"]
        command += ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=preempted"]
        command += [f"--deadline-remaining-seconds={seconds}"]
        done = subprocess.run(  # noqa: S603 - our own arguments
            command, env=self._environment(), capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ClusterError(f"a node could not be given notice: {done.stderr or done.stdout}")

    def kill(self, node: Node) -> None:
        """SIGKILL all of the node's processes at once, as a machine that loses its power."""
        _kill(node.processes())
        self._started[node.number].wait(_END_TIMEOUT_S)
        self.nodes.remove(node)

    def train_workers(self) -> list[int]:
        """The processes of training workers on all nodes."""
        return [pid for node in self.nodes for pid in node.train_workers()]

    def _start(self, *arguments: str) -> None:
        process = self._launch(*arguments)
        self._await(process, len(self._started) - 1)

    def _launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        ports = free_ports(len(_AGENT_PORTS))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", *arguments]
        command += [
            f"--node-ip-address={_LOCALHOST}",
            f"--object-store-memory={_STORE_BYTES}",
            # Left to be found, a busy node waits for its agent to name them, and gives up.
            *(f"--{name}={port}" for name, port in zip(_AGENT_PORTS, ports, strict=True)),
            "--disable-usage-stats",
            "--block",
        ]
        with self._output(len(self._started)).open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - our own arguments
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                start_new_session=True,
            )
        self._started.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        autoscaler_port, metric_port = free_ports(2)
        return {
            **os.environ,
            # Parts of Ray look for "the" cluster of the machine; it may have others.
            "RAY_ADDRESS": self.address,
            "RAY_TMPDIR": self._folder.name,
            # A node that starts on a busy machine gives up after half a minute otherwise.
            "RAY_raylet_start_wait_time_s": f"{_START_TIMEOUT_S:.0f}",
            # Fixed ports otherwise, which another head may have taken.
            "AUTOSCALER_METRIC_PORT": str(autoscaler_port),
            "DASHBOARD_METRIC_PORT": str(metric_port),
        }

    def _await(self, process: subprocess.Popen[bytes], number: int) -> None:
        until = time.monotonic() + _START_TIMEOUT_S
        while not self._has_joined(process, number):
            if time.monotonic() > until:
                raise ClusterError(
                    f"a node on this machine did not start within {_START_TIMEOUT_S:.0f} s: "
                    f"{self._told(number)}"
                )
            time.sleep(0.1)

    def _has_joined(self, process: subprocess.Popen[bytes], number: int) -> bool:
        told = self._told(number)
        if process.poll() is not None:
            raise ClusterError(f"a node on this machine ended while it started: {told}")
        return _UP in told

    def _told(self, number: int) -> str:
        return self._output(number).read_text(errors="replace")

    def _output(self, number: int) -> Path:
        return Path(self._folder.name, f"node-{number}.log")


def descendants(pid: int) -> list[int]:
    """The processes that descend from one, parents before children."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found = list(children.get(pid, []))
    for process in found:
        found += children.get(process, [])
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            # It ended meanwhile.
            continue
        # The name, in parentheses, may hold anything.
        yield int(folder.name), int(stat.rpartition(")")[2].split()[1])


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
