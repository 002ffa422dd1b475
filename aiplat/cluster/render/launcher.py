"""A cluster on AWS or Google Cloud, as Ray's cluster launcher (`ray up`) reads it.

The token that nodes authenticate with is mounted from a file of whoever starts the cluster; it is
in no document.
"""

from typing import Any

from aiplat.cluster.definition import AwsPlace, ClusterDefinition, GcpPlace, NodeType
from aiplat.cluster.render.settings import DASHBOARD_PORT, ENVIRONMENT, GCS_PORT, TOKEN_FILE
from aiplat.errors import ConfigError

Document = dict[str, Any]

# Ray opens a file and several sockets for each process of a node.
_OPEN_FILES = 65536
_METADATA_TOKENS = {"HttpTokens": "required", "HttpPutResponseHopLimit": 2}


def launcher_config(cluster: ClusterDefinition) -> Document:
    """The whole file. Raises ConfigError where the provider is no cloud."""
    place = {"aws": cluster.aws, "gcp": cluster.gcp}.get(cluster.provider)
    if place is None:
        raise ConfigError(
            f"provider={cluster.provider} is none of Ray's cluster launcher: aws, gcp"
        )
    return {
        "cluster_name": cluster.name,
        "max_workers": cluster.max_workers,
        "upscaling_speed": cluster.upscaling_speed,
        "idle_timeout_minutes": max(1, round(cluster.idle_timeout_s / 60)),
        "provider": _provider(place),
        "auth": {"ssh_user": place.ssh_user},
        "docker": _docker(cluster),
        "head_node_type": cluster.head_node_type,
        "available_node_types": {
            name: _node_type(cluster, name, place) for name in cluster.node_types
        },
        "file_mounts": {TOKEN_FILE: TOKEN_FILE},
        # The launcher would put in its own otherwise, which installs another Ray.
        "cluster_synced_files": [],
        "initialization_commands": [],
        "setup_commands": [],
        "head_setup_commands": [],
        "worker_setup_commands": [],
        "head_start_ray_commands": [
            *_start(
                "--head",
                f"--port={GCS_PORT}",
                "--autoscaling-config=~/ray_bootstrap_config.yaml",
                # `ray dashboard` reaches it through SSH; nobody else does.
                "--dashboard-host=127.0.0.1",
                f"--dashboard-port={DASHBOARD_PORT}",
            ),
            # What was supervised on a head before; without it, the cluster is as good.
            f"python -m aiplat.jobs.submit revive storage={cluster.shared_storage} || true",
        ],
        "worker_start_ray_commands": _start(f"--address=$RAY_HEAD_IP:{GCS_PORT}"),
    }


def _provider(place: AwsPlace | GcpPlace) -> Document:
    where = {"region": place.region, "availability_zone": place.availability_zone}
    if isinstance(place, GcpPlace):
        return {"type": "gcp", **where, "project_id": place.project_id}
    return {
        "type": "aws",
        **where,
        "use_internal_ips": place.internal_ips,
        "cache_stopped_nodes": False,
    }


def _docker(cluster: ClusterDefinition) -> Document:
    return {
        "image": cluster.image_of(cluster.head),
        "container_name": "ray",
        "run_options": [f"--ulimit nofile={_OPEN_FILES}:{_OPEN_FILES}"],
    }


def _node_type(cluster: ClusterDefinition, name: str, place: AwsPlace | GcpPlace) -> Document:
    kind = cluster.node_types[name]
    config = _gcp_node(kind, place) if isinstance(place, GcpPlace) else _aws_node(kind, place)
    described: Document = {
        "node_config": config,
        "resources": kind.resources,
        "labels": kind.all_labels,
    }
    if name == cluster.head_node_type:
        return described
    return described | {
        "min_workers": kind.min_nodes,
        "max_workers": kind.max_nodes,
        "priority": kind.priority,
        "idle_timeout_s": kind.idle_timeout_s or cluster.idle_timeout_s,
        **({"docker": {"worker_image": kind.image}} if kind.image else {}),
    }


def _aws_node(kind: NodeType, place: AwsPlace) -> Document:
    profile = {"IamInstanceProfile": {"Arn": place.instance_profile}}
    return {
        "InstanceType": kind.instance,
        "BlockDeviceMappings": [
            {
                "DeviceName": "/dev/sda1",
                "Ebs": {"VolumeSize": kind.disk_gb, "VolumeType": "gp3", "Encrypted": True},
            }
        ],
        "MetadataOptions": dict(_METADATA_TOKENS),
        **(profile if place.instance_profile else {}),
        **({"InstanceMarketOptions": {"MarketType": "spot"}} if kind.spot else {}),
    }


def _gcp_node(kind: NodeType, place: GcpPlace) -> Document:
    disk: Document = {
        "boot": True,
        "autoDelete": True,
        "type": "PERSISTENT",
        "initializeParams": {"diskSizeGb": kind.disk_gb, "sourceImage": place.disk_image},
    }
    node: Document = {"machineType": kind.instance, "disks": [disk]}
    scheduling: list[Document] = []
    if kind.gpus:
        node["guestAccelerators"] = [
            {"acceleratorType": kind.accelerator, "acceleratorCount": kind.gpus}
        ]
        node["metadata"] = {"items": [{"key": "install-nvidia-driver", "value": "True"}]}
        # A machine with GPUs cannot be moved to another host.
        scheduling.append({"onHostMaintenance": "TERMINATE"})
    if kind.spot:
        scheduling.append({"preemptible": True})
    return node | ({"scheduling": scheduling} if scheduling else {})


def _start(*arguments: str) -> list[str]:
    exports = " ".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
    options = " ".join([*arguments, "--object-manager-port=8076", "--disable-usage-stats"])
    return ["ray stop", f"export {exports}; ulimit -n {_OPEN_FILES}; ray start {options}"]
