"""The programs that start, end and show a cluster elsewhere, once its files are written."""

from pathlib import Path
from typing import Literal

from aiplat.cluster.definition import ClusterDefinition

Action = Literal["up", "down", "status"]


def command(cluster: ClusterDefinition, action: Action, folder: Path) -> list[str]:
    """What to call. folder: where the files were written to."""
    home = folder / cluster.provider
    if cluster.provider == "kuberay":
        return _kubectl(cluster, action, home)
    file = str(home / "cluster.yaml")
    if action == "status":
        return ["ray", "exec", file, "ray status"]
    return ["ray", action, "--yes", file]


def _kubectl(cluster: ClusterDefinition, action: Action, home: Path) -> list[str]:
    if action == "status":
        namespace = cluster.kubernetes.namespace if cluster.kubernetes else "default"
        chosen = f"--selector=aiplat.io/cluster={cluster.name}"
        return ["kubectl", "get", "pods", f"--namespace={namespace}", chosen, "--output=wide"]
    # Jobs and endpoints are applied by who wants them; the volume outlives the cluster.
    names = ["network-policy", "ray-cluster"]
    if action == "up":
        names = [*(["storage"] if (home / "storage.yaml").exists() else []), *names]
    verb = "apply" if action == "up" else "delete"
    files = [f"--filename={home / name}.yaml" for name in names]
    return ["kubectl", verb, *files]
