"""A cluster on Kubernetes: the custom resources (`ray.io/v1`) of KubeRay 1.7 and what they need.

https://docs.ray.io/en/master/cluster/kubernetes/references/api.html has their fields.
"""

from importlib.metadata import version
from typing import Any

import yaml

from aiplat.cluster.definition import ClusterDefinition, KubernetesPlace
from aiplat.cluster.render.network import network_policy
from aiplat.cluster.render.pods import pod_template, volume_claim
from aiplat.cluster.render.settings import SERVE_PORT
from aiplat.errors import ConfigError

Document = dict[str, Any]

API = "ray.io/v1"
BUILDER = "aiplat.jobs.application:build"


def manifests(cluster: ClusterDefinition) -> dict[str, Document]:
    """What is to be applied, by the name of its file. Raises ConfigError for another provider."""
    place = cluster.kubernetes
    if place is None:
        raise ConfigError(f"provider={cluster.provider} has no section 'kubernetes'")
    documents = {
        "storage": volume_claim(cluster, place),
        "network-policy": network_policy(cluster, place),
        "ray-cluster": ray_cluster(cluster, place),
        "ray-job": ray_job(cluster, place),
        "ray-service": ray_service(cluster, place),
    }
    return {name: document for name, document in documents.items() if document is not None}


def ray_cluster(cluster: ClusterDefinition, place: KubernetesPlace) -> Document:
    """A cluster that jobs and endpoints share."""
    return _resource("RayCluster", cluster.name, place, _cluster_spec(cluster, place))


def ray_job(cluster: ClusterDefinition, place: KubernetesPlace) -> Document:
    """A job on that cluster, which stays when the job has ended."""
    spec = {
        "entrypoint": f"{place.job} storage={cluster.shared_storage}",
        "clusterSelector": {"ray.io/cluster": cluster.name},
        # The operator asks the head itself; a pod that does it would have to be let in.
        "submissionMode": "HTTPMode",
        "entrypointNumCpus": 0,
    }
    return _resource("RayJob", f"{cluster.name}-job", place, spec)


def ray_service(cluster: ClusterDefinition, place: KubernetesPlace) -> Document:
    """An endpoint on a cluster of its own, which is replaced without a dropped request."""
    spec = {
        "upgradeStrategy": {"type": "NewCluster"},
        "serveConfigV2": yaml.safe_dump(serve_config(cluster, place), sort_keys=False),
        "rayClusterConfig": _cluster_spec(cluster, place),
    }
    return _resource("RayService", f"{cluster.name}-endpoint", place, spec)


def serve_config(cluster: ClusterDefinition, place: KubernetesPlace) -> Document:
    """What Ray Serve is to run, by its own schema (`ray.serve.schema.ServeDeploySchema`)."""
    models = ",".join(place.models)
    overrides = [f"models=[{models}]", f"storage={cluster.shared_storage}"]
    application = {
        "name": "aiplat",
        "route_prefix": "/",
        "import_path": BUILDER,
        "args": {"overrides": overrides},
    }
    return {
        "proxy_location": "EveryNode",
        # The policy lets nobody in but the clients' namespace and the operator.
        "http_options": {"host": "0.0.0.0", "port": SERVE_PORT},  # noqa: S104
        "applications": [application],
    }


def _resource(kind: str, name: str, place: KubernetesPlace, spec: Document) -> Document:
    metadata = {"name": name, "namespace": place.namespace}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "spec": spec}


def _cluster_spec(cluster: ClusterDefinition, place: KubernetesPlace) -> Document:
    secret = {"secretName": place.token_secret} if place.token_secret else {}
    return {
        "rayVersion": version("ray"),
        "authOptions": {"mode": "token", **secret},
        "enableInTreeAutoscaling": True,
        "autoscalerOptions": {
            "version": "v2",
            "upscalingMode": "Default",
            "idleTimeoutSeconds": cluster.idle_timeout_s,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
            },
        },
        "headGroupSpec": {
            # No load balancer and no ingress: `kubectl port-forward` reaches the dashboard.
            "serviceType": "ClusterIP",
            "enableIngress": False,
            "rayStartParams": {"num-cpus": str(cluster.head.cpus)},
            "labels": cluster.head.all_labels,
            "template": pod_template(cluster, place, cluster.head_node_type),
        },
        "workerGroupSpecs": [_group(cluster, place, name) for name in cluster.workers],
    }


def _group(cluster: ClusterDefinition, place: KubernetesPlace, name: str) -> Document:
    kind = cluster.node_types[name]
    return {
        "groupName": name,
        "replicas": kind.min_nodes,
        "minReplicas": kind.min_nodes,
        "maxReplicas": kind.max_nodes,
        "idleTimeoutSeconds": kind.idle_timeout_s or cluster.idle_timeout_s,
        "priority": kind.priority,
        "rayStartParams": {},
        "labels": kind.all_labels,
        "template": pod_template(cluster, place, name),
    }
