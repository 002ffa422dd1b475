"""The files under deploy/, and the programs that use them."""

from pathlib import Path

import pytest
import yaml

from aiplat.cluster.render.commands import command
from aiplat.cluster.render.documents import documents, write_documents
from aiplat.config.search import conf_dir
from aiplat.errors import ConfigError
from tests.cluster.render.clusters import defined

DEPLOY = conf_dir().parent / "deploy"
PROVIDERS = ["aws", "gcp", "kuberay"]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_files_in_the_repository_are_those_of_the_definitions(
    provider: str, tmp_path: Path
) -> None:
    written = write_documents(defined(provider), tmp_path)
    kept = sorted(path.name for path in (DEPLOY / provider).glob("*"))
    assert sorted(file.name for file in written) == kept
    for file in written:
        assert file.read_text() == (DEPLOY / provider / file.name).read_text()


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_is_written_reads_as_what_was_meant(provider: str, tmp_path: Path) -> None:
    cluster = defined(provider)
    for file in write_documents(cluster, tmp_path):
        assert yaml.safe_load(file.read_text()) == documents(cluster)[file.stem]


@pytest.mark.parametrize("provider", ["local", "autoscaling_local"])
def test_a_cluster_of_this_machine_needs_no_files(provider: str) -> None:
    with pytest.raises(ConfigError, match=f"provider={provider} starts processes of this machine"):
        documents(defined(provider))


def test_clouds_are_started_by_the_launcher() -> None:
    cluster, folder = defined("aws"), Path("deploy")
    assert command(cluster, "up", folder) == ["ray", "up", "--yes", "deploy/aws/cluster.yaml"]
    assert command(cluster, "down", folder) == ["ray", "down", "--yes", "deploy/aws/cluster.yaml"]
    assert command(cluster, "status", folder)[-1] == "ray status"


def test_on_kubernetes_the_volume_outlives_the_cluster(tmp_path: Path) -> None:
    cluster = defined("kuberay", "cluster.kubernetes.namespace=ml")
    write_documents(cluster, tmp_path)
    home = tmp_path / "kuberay"
    assert command(cluster, "up", tmp_path) == [
        "kubectl",
        "apply",
        *(
            f"--filename={home}/{name}.yaml"
            for name in ("storage", "network-policy", "ray-cluster")
        ),
    ]
    down = command(cluster, "down", tmp_path)
    assert down[:2] == ["kubectl", "delete"]
    assert not any("storage" in item for item in down)
    assert command(cluster, "status", tmp_path)[3:5] == [
        "--namespace=ml",
        "--selector=aiplat.io/cluster=aiplat",
    ]
