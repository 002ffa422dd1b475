"""The pods of a cluster on Kubernetes: what runs in them, with what rights, and what they see."""

from typing import Any

from aiplat.cluster.definition import ClusterDefinition, KubernetesPlace, NodeType
from aiplat.cluster.render.settings import (
    DASHBOARD_PORT,
    ENVIRONMENT,
    GCS_PORT,
    METRICS_PORT,
    SERVE_PORT,
)

Document = dict[str, Any]

# On every pod: policies choose them by it, also those of clusters whose names the operator makes.
CLUSTER_LABEL = "aiplat.io/cluster"

_USER = 1000
_HEAD_PORTS = {
    "gcs-server": GCS_PORT,
    "dashboard": DASHBOARD_PORT,
    "metrics": METRICS_PORT,
    "serve": SERVE_PORT,
}
_WORKER_PORTS = {"metrics": METRICS_PORT, "serve": SERVE_PORT}
_VOLUME = "storage"
# A head that does no work of its own still runs the drivers of jobs.
_HEAD_CPUS = 2
_GPU = "nvidia.com/gpu"


def pod_template(cluster: ClusterDefinition, place: KubernetesPlace, name: str) -> Document:
    """The pods of a node type, as a PodTemplateSpec."""
    kind = cluster.node_types[name]
    is_head = name == cluster.head_node_type
    spec: Document = {
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(cluster, place, kind, is_head)],
        # A worker that is taken away tells the cluster and hands on what it holds.
        "terminationGracePeriodSeconds": 60,
    }
    if not is_head:
        # The head's autoscaler talks to Kubernetes, workers do not.
        spec["automountServiceAccountToken"] = False
    if kind.node_selector:
        spec["nodeSelector"] = dict(kind.node_selector)
    if kind.gpus:
        spec["tolerations"] = [{"key": _GPU, "operator": "Exists", "effect": "NoSchedule"}]
    if _has_volume(cluster):
        claim = {"claimName": claim_name(cluster)}
        spec["volumes"] = [{"name": _VOLUME, "persistentVolumeClaim": claim}]
    return {"metadata": {"labels": {CLUSTER_LABEL: cluster.name}}, "spec": spec}


def claim_name(cluster: ClusterDefinition) -> str:
    """What the volume is called that all pods share."""
    return f"{cluster.name}-storage"


def volume_claim(cluster: ClusterDefinition, place: KubernetesPlace) -> Document | None:
    """The volume that all pods share; None where they share an object store."""
    if not _has_volume(cluster):
        return None
    spec: Document = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": f"{place.storage_gb}Gi"}},
    }
    if place.storage_class is not None:
        spec["storageClassName"] = place.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": claim_name(cluster), "namespace": place.namespace},
        "spec": spec,
    }


def _has_volume(cluster: ClusterDefinition) -> bool:
    return "://" not in cluster.shared_storage


def _container(
    cluster: ClusterDefinition, place: KubernetesPlace, kind: NodeType, is_head: bool
) -> Document:
    gpus = {_GPU: str(kind.gpus)} if kind.gpus else {}
    cpus = str(kind.cpus or _HEAD_CPUS)
    memory = f"{kind.memory_gb}Gi"
    container: Document = {
        "name": "ray-head" if is_head else "ray-worker",
        "image": cluster.image_of(kind),
        "env": _environment(place),
        "ports": [
            {"name": port, "containerPort": number}
            for port, number in (_HEAD_PORTS if is_head else _WORKER_PORTS).items()
        ],
        # What Ray counts with is what the pod has: a limit above it would let nodes run out.
        "resources": {
            "limits": {"cpu": cpus, "memory": memory, **gpus},
            "requests": {"cpu": cpus, "memory": memory, **gpus},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    if _has_volume(cluster):
        container["volumeMounts"] = [{"name": _VOLUME, "mountPath": cluster.shared_storage}]
    return container


def _environment(place: KubernetesPlace) -> list[Document]:
    # The operator sets how nodes authenticate, out of the Secret that `authOptions` names.
    plain = [
        {"name": name, "value": value}
        for name, value in ENVIRONMENT.items()
        if not name.startswith("RAY_AUTH")
    ]
    referred = []
    for name, reference in place.secrets.items():
        secret, _, key = reference.partition("/")
        source = {"secretKeyRef": {"name": secret, "key": key}}
        referred.append({"name": name, "valueFrom": source})
    return plain + referred
