"""The fields of the custom resources that are rendered, and a check that there are no others.

Those of KubeRay are from the field reference of its release 1.7.0, those of Kubernetes from that of
its API; only what a manifest of ours may ever need is listed.
"""

from collections.abc import Mapping
from typing import Any

TEXTS = dict[str, str]

CLUSTER_SPEC: dict[str, Any] = {
    "rayVersion": str,
    "authOptions": {"mode": ("disabled", "token"), "secretName": str, "enableK8sTokenAuth": bool},
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": ("v1", "v2"),
        "upscalingMode": ("Default", "Aggressive", "Conservative"),
        "idleTimeoutSeconds": int,
        "securityContext": "SecurityContext",
        "resources": "ResourceRequirements",
    },
    "headGroupSpec": {
        "serviceType": ("ClusterIP", "NodePort", "LoadBalancer"),
        "enableIngress": bool,
        "rayStartParams": TEXTS,
        "labels": TEXTS,
        "resources": TEXTS,
        "template": "PodTemplate",
    },
    "workerGroupSpecs": [
        {
            "groupName": str,
            "replicas": int,
            "minReplicas": int,
            "maxReplicas": int,
            "idleTimeoutSeconds": int,
            "priority": int,
            "rayStartParams": TEXTS,
            "labels": TEXTS,
            "resources": TEXTS,
            "template": "PodTemplate",
        }
    ],
}

SPECS: dict[str, dict[str, Any]] = {
    "RayCluster": CLUSTER_SPEC,
    "RayJob": {
        "entrypoint": str,
        "clusterSelector": TEXTS,
        "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
        "runtimeEnvYAML": str,
        "entrypointNumCpus": int,
        "backoffLimit": int,
        "shutdownAfterJobFinishes": bool,
        "rayClusterSpec": CLUSTER_SPEC,
    },
    "RayService": {
        "upgradeStrategy": {"type": ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")},
        "serveConfigV2": str,
        "excludeHeadPodFromServeSvc": bool,
        "rayClusterConfig": CLUSTER_SPEC,
    },
    "PersistentVolumeClaim": {
        "accessModes": list,
        "storageClassName": str,
        "resources": "ResourceRequirements",
    },
    "NetworkPolicy": {
        "podSelector": {"matchLabels": TEXTS},
        "policyTypes": list,
        "ingress": [
            {
                "from": [
                    {
                        "podSelector": {"matchLabels": TEXTS},
                        "namespaceSelector": {"matchLabels": TEXTS},
                    }
                ],
                "ports": [{"protocol": ("TCP", "UDP", "SCTP"), "port": int}],
            }
        ],
    },
}

_CAPABILITIES = {"add": list, "drop": list}
SHARED: dict[str, dict[str, Any]] = {
    "ResourceRequirements": {"limits": TEXTS, "requests": TEXTS},
    "SecurityContext": {
        "allowPrivilegeEscalation": bool,
        "runAsNonRoot": bool,
        "capabilities": _CAPABILITIES,
    },
    "PodTemplate": {
        "metadata": {"labels": TEXTS},
        "spec": {
            "automountServiceAccountToken": bool,
            "nodeSelector": TEXTS,
            "terminationGracePeriodSeconds": int,
            "tolerations": [{"key": str, "operator": ("Exists", "Equal"), "effect": str}],
            "securityContext": {
                "runAsNonRoot": bool,
                "runAsUser": int,
                "fsGroup": int,
                "seccompProfile": {"type": ("RuntimeDefault", "Unconfined", "Localhost")},
            },
            "volumes": [{"name": str, "persistentVolumeClaim": {"claimName": str}}],
            "containers": [
                {
                    "name": str,
                    "image": str,
                    "env": [
                        {
                            "name": str,
                            "value": str,
                            "valueFrom": {"secretKeyRef": {"name": str, "key": str}},
                        }
                    ],
                    "ports": [{"name": str, "containerPort": int}],
                    "resources": "ResourceRequirements",
                    "securityContext": "SecurityContext",
                    "volumeMounts": [{"name": str, "mountPath": str}],
                }
            ],
        },
    },
}
API_VERSIONS = {
    "RayCluster": "ray.io/v1",
    "RayJob": "ray.io/v1",
    "RayService": "ray.io/v1",
    "PersistentVolumeClaim": "v1",
    "NetworkPolicy": "networking.k8s.io/v1",
}


def faults(document: Mapping[str, Any]) -> list[str]:
    """What the API would refuse in a document, or silently drop."""
    kind = document["kind"]
    found = [] if document["apiVersion"] == API_VERSIONS[kind] else ["apiVersion"]
    found += _faults("metadata", document["metadata"], {"name": str, "namespace": str})
    return found + _faults("spec", document["spec"], SPECS[kind])


def _faults(path: str, value: Any, wanted: Any) -> list[str]:
    if isinstance(wanted, str):
        wanted = SHARED[wanted]
    if wanted == TEXTS:
        entries = value.items() if isinstance(value, Mapping) else [("", value)]
        return [f"{path}.{key}" for key, item in entries if not isinstance(item, str)]
    if isinstance(wanted, tuple):
        return [] if value in wanted else [f"{path}={value}"]
    if isinstance(wanted, list):
        places = [(f"{path}[{place}]", item) for place, item in enumerate(value)]
        return [fault for place, item in places for fault in _faults(place, item, wanted[0])]
    if isinstance(wanted, type):
        return [] if type(value) is wanted else [f"{path}={value!r}"]
    found = []
    for key, item in value.items():
        here = f"{path}.{key}"
        found += _faults(here, item, wanted[key]) if key in wanted else [here]
    return found
