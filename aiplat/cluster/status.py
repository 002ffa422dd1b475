"""What a cluster has of each node type, what of it is in use, and what it is about to add."""

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from aiplat.cluster.session import settle_environment
from aiplat.errors import ClusterError


@dataclass(frozen=True)
class NodeCount:
    """Nodes of one type.

    busy: that do something. idle: that could be taken away. pending: asked for, and not there yet
    when the autoscaler looked last: one that came since counts twice for a moment, as Ray does not
    say which it is. waited_s: seconds since the first of them was asked for, where that is known.
    failed: launches that did not work; the head's log (`monitor.log`) says why.
    """

    node_type: str
    busy: int = 0
    idle: int = 0
    pending: int = 0
    waited_s: float | None = None
    failed: int = 0

    @property
    def running(self) -> int:
        """Nodes that are there."""
        return self.busy + self.idle


@dataclass(frozen=True)
class ClusterState:
    """A cluster at one moment.

    nodes: by type. in_use: of `CPU` and `GPU`, how much is reserved, and of how much. without_room:
    what each process needs of the groups of processes that wait until they all find room.
    """

    nodes: dict[str, NodeCount]
    in_use: dict[str, tuple[float, float]] = field(default_factory=dict)
    without_room: tuple[dict[str, float], ...] = ()


def node_counts(address: str) -> dict[str, NodeCount]:
    """The nodes of a cluster by type; see `cluster_state`."""
    return cluster_state(address).nodes


def cluster_state(address: str) -> ClusterState:
    """What a cluster says of itself now. address: of its head, without a scheme.

    Raises ClusterError where it does not answer.
    """
    settle_environment()
    from ray.autoscaler.v2.sdk import get_cluster_status

    try:
        status = get_cluster_status(address)
    except Exception as error:
        # Ray raises RpcError, a RuntimeError, or what protobuf does, by where it gets stuck.
        raise ClusterError(
            f"the cluster at {address} does not answer: {str(error).splitlines()[0]}"
        ) from error
    usage = {
        entry.resource_name: (entry.used, entry.total) for entry in status.cluster_resource_usage
    }
    return ClusterState(
        nodes=counted(status, time.time()),
        in_use={name: usage[name] for name in ("CPU", "GPU") if name in usage},
        without_room=tuple(
            bundles.bundle
            for demand in status.resource_demands.placement_group_demand
            for bundles in demand.bundles_by_count
        ),
    )


def counted(status: Any, now: float) -> dict[str, NodeCount]:
    """The counts out of Ray's status. now: seconds since 1970."""
    busy, idle = _by_type(status.active_nodes), _by_type(status.idle_nodes)
    starting = _by_type(status.pending_nodes)
    asked = _by_type(status.pending_launches)
    failed = _by_type(status.failed_launches)
    counts = {}
    for name in sorted({*busy, *idle, *starting, *asked, *failed}):
        since = [launch.request_ts_s for launch in asked[name] if launch.request_ts_s]
        counts[name] = NodeCount(
            node_type=name,
            busy=len(busy[name]),
            idle=len(idle[name]),
            pending=len(starting[name]) + sum(launch.count for launch in asked[name]),
            waited_s=now - min(since) if since else None,
            failed=sum(launch.count for launch in failed[name]),
        )
    return counts


def _by_type(nodes: Iterable[Any]) -> dict[str, list[Any]]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for node in nodes:
        grouped[node.ray_node_type_name].append(node)
    return grouped
