"""How Ray's autoscaler is told of a cluster whose nodes it makes on this machine."""

from pathlib import Path
from typing import Any

from aiplat.cluster.definition import SIMULATED_GPUS, ClusterDefinition, NodeType

# What the provider calls its head, and Ray believes when it is told so.
_HEAD_ID = f"{'f' * 51}00000"
_STORE_BYTES = 200 << 20
_EMPTY_LISTS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
)


def autoscaling_config(cluster: ClusterDefinition, address: str) -> dict[str, Any]:
    """What `ray start --autoscaling-config` reads. address: of the head."""
    types = {
        name: _node_type(kind, name == cluster.head_node_type)
        for name, kind in cluster.node_types.items()
    }
    return {
        "cluster_name": cluster.name,
        "max_workers": cluster.max_workers,
        "upscaling_speed": cluster.upscaling_speed,
        "idle_timeout_minutes": cluster.idle_timeout_s / 60,
        "provider": {
            "type": "external",
            "module": "aiplat.cluster.fake_nodes.FakeNodes",
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "disable_launch_config_check": True,
            "launch_multiple": True,
            "gcs_address": address,
            "head_node_id": _HEAD_ID,
            "head_node_type": cluster.head_node_type,
        },
        "head_node_type": cluster.head_node_type,
        "available_node_types": types,
        "docker": {},
        "auth": {},
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        **{name: [] for name in _EMPTY_LISTS},
    }


def autoscaling_environment() -> dict[str, str]:
    """What the head must find in its environment so that its autoscaler makes such nodes."""
    return {
        "RAY_FAKE_CLUSTER": "1",
        "RAY_enable_autoscaler_v2": "1",
        "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
        "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        # The autoscaler imports the provider from where this was imported from.
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }


def _node_type(kind: NodeType, is_head: bool) -> dict[str, Any]:
    # Their memory is that of this machine, whatever the definition says.
    resources = {name: amount for name, amount in kind.resources.items() if name != "memory"}
    described: dict[str, Any] = {
        "resources": resources | {"object_store_memory": _STORE_BYTES},
        "labels": kind.all_labels | (dict([SIMULATED_GPUS]) if kind.gpus else {}),
        "node_config": {},
    }
    if is_head:
        return described | {"max_workers": 0}
    return described | {
        "min_workers": kind.min_nodes,
        "max_workers": kind.max_nodes,
        "priority": kind.priority,
        **({"idle_timeout_s": kind.idle_timeout_s} if kind.idle_timeout_s else {}),
    }
