"""What a cluster may grow to: its node types, and whether a group of workers would fit on them.

Ray keeps a cluster's node types where any of its processes can read them, if whoever started it
says so; Ray Train refuses by it what can never fit, and this says in addition what would.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiplat.cluster.definition import ClusterDefinition
from aiplat.errors import ClusterError

# Ray's resources are floats.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class NodeGroup:
    """A node type of a running cluster. max_nodes: that there are at most."""

    name: str
    resources: Mapping[str, float]
    max_nodes: int

    def room(self, bundle: Mapping[str, float]) -> int:
        """How many of such bundles its nodes hold at most, if nothing else is on them."""
        needed = {name: amount for name, amount in bundle.items() if amount > 0}
        each = min(
            (
                self.resources.get(name, 0.0) / amount + _TOLERANCE
                for name, amount in needed.items()
            ),
            default=0.0,
        )
        return self.max_nodes * math.floor(each)


def tell_growth(cluster: ClusterDefinition, address: str) -> None:
    """Keep the node types of a cluster that was just started where jobs on it look for them."""
    import ray
    from ray.core.generated import autoscaler_pb2

    config = autoscaler_pb2.ClusterConfig()
    for name, kind in cluster.node_types.items():
        is_head = name == cluster.head_node_type
        group = config.node_group_configs.add(
            name=name,
            min_count=kind.min_nodes,
            max_count=1 if is_head else kind.max_nodes,
        )
        group.resources.update({"CPU": kind.cpus, "GPU": kind.gpus})
    ray._raylet.GcsClient(address=address).internal_kv_put(
        ray._raylet.GCS_AUTOSCALER_CLUSTER_CONFIG_KEY.encode(),
        config.SerializeToString(),
        True,
        ray._raylet.GCS_AUTOSCALER_STATE_NAMESPACE.encode(),
    )


def node_groups() -> list[NodeGroup]:
    """The node types of the cluster this process is part of; none where it keeps none."""
    from ray._private.state import state

    config = state.get_cluster_config()
    if config is None:
        return []
    return [
        NodeGroup(group.name, dict(group.resources), group.max_count)
        for group in config.node_group_configs
    ]


def check_can_hold(groups: Sequence[NodeGroup], bundle: Mapping[str, float], count: int) -> None:
    """Raise ClusterError where `count` workers never fit, and name the nearest that would.

    bundle: what each worker needs.
    """
    room = {group.name: group.room(bundle) for group in groups}
    if sum(room.values()) >= count:
        return
    asked = f"scale.num_workers={count} with {_told(bundle)} each"
    if any(room.values()):
        where = ", ".join(f"{name} holds {held}" for name, held in room.items() if held)
        raise ClusterError(
            f"{asked} never fits on this cluster, however it grows ({where}): "
            f"set scale.num_workers={sum(room.values())}, or raise max_nodes of a node type"
        )
    has = "; ".join(
        f"{group.name}: {_told(group.resources)}" for group in groups if group.max_nodes
    )
    raise ClusterError(
        f"{asked} never fits on this cluster, however it grows: no node has as much ({has}); "
        f"{_nearest(groups, bundle)}"
    )


def _nearest(groups: Sequence[NodeGroup], bundle: Mapping[str, float]) -> str:
    """What to ask for in place of a bundle that is too large for every node."""
    usable = [group for group in groups if group.max_nodes]
    with_gpus = [group for group in usable if group.resources.get("GPU", 0) >= 1]
    if bundle.get("GPU", 0) > 0 and not with_gpus:
        return "no node type has a GPU: set scale.use_gpu=false, or add one"
    wide = max(with_gpus or usable, key=lambda group: group.resources.get("CPU", 0))
    return f"set scale.cpus_per_worker={wide.resources.get('CPU', 0):g}, which {wide.name} has"


def _told(resources: Mapping[str, float]) -> str:
    kinds = (("GPU", "GPUs"), ("CPU", "CPUs"))
    named = [f"{resources[key]:g} {word}" for key, word in kinds if resources.get(key)]
    return " and ".join(named) or "nothing"
