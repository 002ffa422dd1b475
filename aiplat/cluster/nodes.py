"""A Ray cluster of several nodes on this machine, each a tree of processes that can be killed.

What a node says it has is made up: it decides where workers are placed, not what they compute with.
It knows nothing of what runs on it, and ends nothing that it did not start.
"""

import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from aiplat.cluster.ports import LOCALHOST, free_ports
from aiplat.cluster.processes import (
    descendants,
    has_joined,
    kill,
    launch,
    node_environment,
    title,
    wait_until_joined,
)
from aiplat.cluster.session import settle_environment
from aiplat.errors import ClusterError

_END_TIMEOUT_S = 20.0
_TERMINATED = 128 + signal.SIGTERM
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
        return sorted(pid for pid in self.processes() if _WORKER_TITLE in title(pid))

    def ray_id(self) -> str:
        """What Ray calls the node."""
        for pid in self.processes():
            for argument in title(pid).split(b"\0"):
                if argument.startswith(_NODE_ID):
                    return argument.removeprefix(_NODE_ID).decode()
        raise ClusterError(f"node {self.number} of this machine does not run")


class LocalNodes:
    """A head without CPUs, and nodes that come and go; all of them end with the block."""

    def __init__(self, num_cpus: list[int]) -> None:
        self.num_cpus = num_cpus
        self.nodes: list[Node] = []
        self.port, self.dashboard_port, self.client_port = free_ports(3)
        self.address = f"{LOCALHOST}:{self.port}"
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
            kill([process.pid, *descendants(process.pid)])
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
        return has_joined(self._started[node.number], self._output(node.number))

    def wait(self, node: Node) -> None:
        """Return once the node has joined."""
        wait_until_joined(self._started[node.number], self._output(node.number))

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
        kill(node.processes())
        self._started[node.number].wait(_END_TIMEOUT_S)
        self.nodes.remove(node)

    def train_workers(self) -> list[int]:
        """The processes of training workers on all nodes."""
        return [pid for node in self.nodes for pid in node.train_workers()]

    def _start(self, *arguments: str) -> None:
        process = self._launch(*arguments)
        wait_until_joined(process, self._output(len(self._started) - 1))

    def _launch(self, *arguments: str) -> subprocess.Popen[bytes]:
        process = launch(
            [f"--node-ip-address={LOCALHOST}", *arguments],
            self._output(len(self._started)),
            self._environment(),
        )
        self._started.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        return node_environment(self.address) | {"RAY_TMPDIR": self._folder.name}

    def _output(self, number: int) -> Path:
        return Path(self._folder.name, f"node-{number}.log")
