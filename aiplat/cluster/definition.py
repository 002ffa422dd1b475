"""What a cluster is made of: the one description that every way to start it is rendered from.

Knows no Ray: what is here is read by `--help` and by tests that start nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from aiplat.config.problems import suggestion
from aiplat.errors import ConfigError

Provider = Literal["local", "autoscaling_local", "kuberay", "aws", "gcp"]
CLOUDS = ("aws", "gcp")
# The label of nodes whose GPUs are made up, with its value.
SIMULATED_GPUS = ("gpus", "simulated")

# What Kubernetes takes as a name, with room for what its operator adds.
_NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")
_RESERVED_LABELS = "ray.io/"


@dataclass(kw_only=True)
class NodeType:
    """Nodes that are alike.

    cpus: that Ray may give to tasks on each; 0 on a head that only manages.
    gpus: of each node.
    memory_gb: of each node, in GiB.
    min_nodes: that are there even when nobody asks.
    max_nodes: that are there at most.
    spot: whether the provider may take them back at short notice; what asks for nodes tells them
        apart by their label `market-type`, which is `spot` or `on-demand`.
    priority: of several types that would do, the autoscaler adds the one with the highest.
    idle_timeout_s: seconds a node stays without work; null: as the cluster says.
    image: container image; null: that of the cluster.
    instance: machine type of the cloud, as `m5.2xlarge` or `n1-standard-8`.
    accelerator: model of the GPUs, as GCP calls it (`nvidia-tesla-t4`).
    disk_gb: disk of each machine of a cloud, in GiB.
    node_selector: labels of the Kubernetes nodes that its pods may run on.
    labels: of the Ray nodes, for `label_selector`.
    """

    cpus: int
    memory_gb: int
    gpus: int = 0
    min_nodes: int = 0
    max_nodes: int = 1
    spot: bool = False
    priority: int = 0
    idle_timeout_s: int | None = None
    image: str | None = None
    instance: str | None = None
    accelerator: str | None = None
    disk_gb: int = 200
    node_selector: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus", "min_nodes"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, it cannot be negative")
        for name in ("memory_gb", "disk_gb"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.min_nodes > self.max_nodes:
            raise ConfigError(
                f"min_nodes is {self.min_nodes}, more than max_nodes={self.max_nodes}"
            )
        for key in self.labels:
            if key.startswith(_RESERVED_LABELS):
                raise ConfigError(f"labels has {key!r}, but Ray keeps 'ray.io/' for its own")

    @property
    def resources(self) -> dict[str, int]:
        """What Ray schedules by, of one node; memory in bytes."""
        gpus = {"GPU": self.gpus} if self.gpus else {}
        return {"CPU": self.cpus, **gpus, "memory": self.memory_gb << 30}

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels of its Ray nodes."""
        return {"market-type": "spot" if self.spot else "on-demand", **self.labels}


@dataclass(kw_only=True)
class AwsPlace:
    """Where on AWS.

    availability_zone: one or several, parted by commas; the first that has room is taken.
    instance_profile: ARN of the profile by which nodes reach the storage; null: Ray's own.
    """

    region: str = "us-west-2"
    availability_zone: str = "us-west-2a,us-west-2b"
    ssh_user: str = "ubuntu"
    internal_ips: bool = True
    instance_profile: str | None = None


@dataclass(kw_only=True)
class GcpPlace:
    """Where on Google Cloud.

    disk_image: what the machines boot from; it has Docker, and drivers where there are GPUs.
    """

    project_id: str
    region: str = "us-west1"
    availability_zone: str = "us-west1-a"
    ssh_user: str = "ubuntu"
    disk_image: str = "projects/deeplearning-platform-release/global/images/family/common-cu121"


@dataclass(kw_only=True)
class KubernetesPlace:
    """Where on Kubernetes, and what is started there.

    operator_namespace: of the KubeRay operator, which may ask the head.
    client_namespace: whose pods may ask the endpoint, such as that of the ingress controller.
    storage_class: of the volume that all nodes share; null: the cluster's default.
    storage_gb: its size, in GiB.
    token_secret: Secret with the key `auth_token`; null: the operator makes one.
    secrets: environment variables out of Secrets, as `MLFLOW_TRACKING_URI: tracking/uri`.
    job: what the RayJob runs on the cluster.
    models: what the RayService answers with.
    """

    namespace: str = "default"
    operator_namespace: str = "kuberay-operator"
    client_namespace: str = "ingress"
    storage_class: str | None = None
    storage_gb: int = 100
    token_secret: str | None = None
    secrets: dict[str, str] = field(default_factory=dict)
    job: str = "python -m aiplat.jobs.train +exp=clip"
    models: list[str] = field(default_factory=lambda: ["clip@champion"])

    def __post_init__(self) -> None:
        for name, reference in self.secrets.items():
            if not re.fullmatch(r"[^/\s]+/[^/\s]+", reference):
                # What stands there in its place may be the secret.
                raise ConfigError(
                    f"secrets.{name} is no reference: expected <name of a Secret>/<key in it>"
                )


@dataclass(kw_only=True)
class ClusterDefinition:
    """A cluster to start.

    name: of the cluster.
    provider: what the nodes are: `local`, processes of this machine; `autoscaling_local`, the same
        with the autoscaler adding and removing them, and whatever GPUs it is told of;
        `kuberay`, pods; `aws` and `gcp`, machines.
    node_types: by name; the autoscaler adds nodes of the types that fit what is asked for.
    head_node_type: the type of the one node that manages the others.
    idle_timeout_s: seconds a node stays without work.
    upscaling_speed: nodes that may be pending at a time, as a multiple of those that run.
    image: container image with aiplat and its libraries.
    shared_storage: `storage` of the jobs on it: a folder that all nodes see, or a URI.
    """

    name: str = "aiplat"
    provider: Provider
    node_types: dict[str, NodeType]
    head_node_type: str = "head"
    idle_timeout_s: int = 300
    upscaling_speed: float = 1.0
    image: str | None = None
    shared_storage: str = "/shared/aiplat"
    aws: AwsPlace | None = None
    gcp: GcpPlace | None = None
    kubernetes: KubernetesPlace | None = None

    def __post_init__(self) -> None:
        for name in (self.name, *self.node_types):
            if not _NAME.fullmatch(name):
                raise ConfigError(
                    f"{name!r} names a cluster or a node type: expected at most 40 small letters, "
                    "digits and hyphens, a letter first"
                )
        if self.head_node_type not in self.node_types:
            raise ConfigError(
                f"head_node_type is {self.head_node_type!r}, which is no node type; "
                f"{suggestion(self.head_node_type, self.node_types)}"
            )
        if not self.workers:
            raise ConfigError("node_types has a head only: describe nodes that compute, too")
        if self.idle_timeout_s <= 0 or self.upscaling_speed <= 0:
            raise ConfigError("idle_timeout_s and upscaling_speed must be more than 0")
        if self.provider in (*CLOUDS, "kuberay"):
            self._check_remote()

    @property
    def head(self) -> NodeType:
        """The type of the head."""
        return self.node_types[self.head_node_type]

    @property
    def workers(self) -> dict[str, NodeType]:
        """The types of all other nodes."""
        return {name: kind for name, kind in self.node_types.items() if name != self.head_node_type}

    @property
    def max_workers(self) -> int:
        """Nodes besides the head that there are at most."""
        return sum(kind.max_nodes for kind in self.workers.values())

    def image_of(self, kind: NodeType) -> str:
        """The image of a type's nodes."""
        return kind.image or self.image or ""

    def _check_remote(self) -> None:
        place = "kubernetes" if self.provider == "kuberay" else self.provider
        if getattr(self, place) is None:
            raise ConfigError(f"provider={self.provider} needs the section '{place}'")
        for name, kind in self.node_types.items():
            if not self.image_of(kind):
                raise ConfigError(f"node_types.{name} has no image: set image=<one with aiplat>")
            if self.provider in CLOUDS and kind.instance is None:
                raise ConfigError(f"node_types.{name} has no instance: name its machine type")
            if self.provider == "gcp" and kind.gpus and kind.accelerator is None:
                raise ConfigError(f"node_types.{name} has GPUs: name their accelerator")
