"""Who may reach the pods of a cluster: they each other, the operator, and clients the endpoint.

Whoever reaches Ray's own ports runs code there, and replicas of Ray Serve listen without asking for
a key; so all that is not named here is refused.
"""

from typing import Any

from aiplat.cluster.definition import ClusterDefinition, KubernetesPlace
from aiplat.cluster.render.pods import CLUSTER_LABEL
from aiplat.cluster.render.settings import DASHBOARD_PORT, SERVE_PORT

Document = dict[str, Any]

_OPERATOR = {"app.kubernetes.io/component": "kuberay-operator"}


def network_policy(cluster: ClusterDefinition, place: KubernetesPlace) -> Document:
    """A NetworkPolicy over all pods of the cluster."""
    pods = {"matchLabels": {CLUSTER_LABEL: cluster.name}}
    operator = {
        "namespaceSelector": _namespace(place.operator_namespace),
        "podSelector": {"matchLabels": dict(_OPERATOR)},
    }
    clients = {"namespaceSelector": _namespace(place.client_namespace)}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": f"{cluster.name}-ray", "namespace": place.namespace},
        "spec": {
            "podSelector": pods,
            "policyTypes": ["Ingress"],
            "ingress": [
                {"from": [{"podSelector": pods}]},
                {"from": [operator], "ports": [_tcp(DASHBOARD_PORT), _tcp(SERVE_PORT)]},
                {"from": [clients], "ports": [_tcp(SERVE_PORT)]},
            ],
        },
    }


def _namespace(name: str) -> Document:
    return {"matchLabels": {"kubernetes.io/metadata.name": name}}


def _tcp(port: int) -> Document:
    return {"protocol": "TCP", "port": port}
