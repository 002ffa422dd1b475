"""A cluster of this machine that outlives who starts it, and is found and ended by its record."""

import json
import shutil
import socket
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path

from aiplat.cluster.autoscaling import autoscaling_config, autoscaling_environment
from aiplat.cluster.definition import SIMULATED_GPUS, ClusterDefinition, NodeType
from aiplat.cluster.growth import tell_growth
from aiplat.cluster.ports import free_ports, is_free
from aiplat.cluster.processes import (
    began,
    descendants,
    kill,
    launch,
    node_environment,
    wait_until_joined,
)
from aiplat.cluster.session import settle_environment
from aiplat.errors import ClusterError

_RECORD = "cluster.json"


@dataclass(frozen=True)
class LocalNode:
    """A node by the process all of it descends from. began: see `processes.began`."""

    node_type: str
    pid: int
    began: int | None

    def is_running(self) -> bool:
        """Whether that process is still there."""
        return self.began is not None and began(self.pid) == self.began


@dataclass(frozen=True)
class LocalCluster:
    """A cluster of this machine. address: what jobs take as `cluster.address`."""

    name: str
    address: str
    dashboard_url: str
    host: str
    nodes: tuple[LocalNode, ...]

    def is_running(self) -> bool:
        """Whether its head is there."""
        return bool(self.nodes) and self.nodes[0].is_running()


def start(cluster: ClusterDefinition, folder: Path) -> LocalCluster:
    """Start the head and the nodes that are to be there from the start.

    folder: of the record and of what the nodes say. Raises ClusterError where the cluster runs
    already, or a node does not start; nothing is left of it then.
    """
    running = find(folder)
    if running and running.is_running():
        raise ClusterError(
            f"{cluster.name} runs already at {running.address}: end it first with "
            "'python -m aiplat.jobs.cluster down'"
        )
    if running:
        # Its other nodes outlived its head.
        _kill(list(running.nodes))
    settle_environment()
    folder.mkdir(parents=True, exist_ok=True)
    port, dashboard_port, client_port = _ports(running)
    address = f"{_host_address()}:{port}"
    starter = _Starter(cluster, folder, address)
    try:
        starter.head(port, dashboard_port, client_port)
        if cluster.provider == "autoscaling_local":
            tell_growth(cluster, address)
        else:
            for name, kind in cluster.workers.items():
                # One after the other: each takes a free name in the folder they share.
                for _ in range(kind.min_nodes):
                    starter.node(name, [f"--address={address}"], {})
    except BaseException:
        _kill(starter.nodes)
        raise
    started = LocalCluster(
        name=cluster.name,
        address=address,
        dashboard_url=f"http://127.0.0.1:{dashboard_port}",
        host=socket.gethostname(),
        nodes=tuple(starter.nodes),
    )
    (folder / _RECORD).write_text(json.dumps(asdict(started), indent=2))
    return started


def find(folder: Path) -> LocalCluster | None:
    """The cluster that was started with this folder and not ended; None where there is none.

    Raises ClusterError where another machine started it.
    """
    record = folder / _RECORD
    if not record.exists():
        return None
    told = json.loads(record.read_text())
    found = LocalCluster(**told | {"nodes": tuple(LocalNode(**node) for node in told["nodes"])})
    if found.host != socket.gethostname():
        raise ClusterError(f"{found.name} was started on {found.host}: end it there")
    return found


def stop(cluster: LocalCluster, folder: Path) -> int:
    """End the cluster's processes and forget it. Returns how many there were."""
    num_processes = _kill(list(cluster.nodes))
    shutil.rmtree(folder)
    return num_processes


def _ports(before: LocalCluster | None) -> list[int]:
    """Of the head, its dashboard and Ray's clients: where those of the cluster before are free,
    whoever knew its address finds this one.
    """
    ports = free_ports(3)
    if before is not None:
        known = [int(at.rpartition(":")[2]) for at in (before.address, before.dashboard_url)]
        if all(map(is_free, known)):
            ports[:2] = known
    return ports


def _kill(nodes: list[LocalNode]) -> int:
    # A process that took the number of one that ended is somebody else's.
    found = [
        pid
        for node in reversed(nodes)
        if node.is_running()
        for pid in (node.pid, *descendants(node.pid))
    ]
    kill(found)
    return len(found)


def _host_address() -> str:
    import ray

    return str(ray.util.get_node_ip_address())


class _Starter:
    """Starts the nodes of one cluster, one after the other."""

    def __init__(self, cluster: ClusterDefinition, folder: Path, address: str) -> None:
        self.cluster, self.folder, self.address = cluster, folder, address
        self.nodes: list[LocalNode] = []

    def head(self, port: int, dashboard_port: int, client_port: int) -> None:
        arguments = [
            "--head",
            f"--port={port}",
            f"--dashboard-port={dashboard_port}",
            f"--ray-client-server-port={client_port}",
        ]
        environment: dict[str, str] = {}
        if self.cluster.provider == "autoscaling_local":
            file = self.folder / "autoscaling.json"
            file.write_text(json.dumps(autoscaling_config(self.cluster, self.address), indent=2))
            arguments.append(f"--autoscaling-config={file}")
            environment = autoscaling_environment()
        self.node(self.cluster.head_node_type, arguments, environment)

    def node(self, node_type: str, arguments: list[str], environment: dict[str, str]) -> None:
        output = self.folder / f"node-{len(self.nodes)}.log"
        kind = self.cluster.node_types[node_type]
        process = launch(
            [*arguments, *_room(kind)],
            output,
            node_environment(self.address) | environment | {"RAY_NODE_TYPE_NAME": node_type},
        )
        self.nodes.append(LocalNode(node_type, process.pid, began(process.pid)))
        wait_until_joined(process, output)
        _let_go(process)


def _room(kind: NodeType) -> list[str]:
    simulated = dict([SIMULATED_GPUS]) if kind.gpus else {}
    labels = ",".join(f"{key}={value}" for key, value in (kind.all_labels | simulated).items())
    return [f"--num-cpus={kind.cpus}", f"--num-gpus={kind.gpus}", f"--labels={labels}"]


def _let_go(process: subprocess.Popen[bytes]) -> None:
    # It is to outlive us, which Python takes for an oversight otherwise.
    process.returncode = 0
