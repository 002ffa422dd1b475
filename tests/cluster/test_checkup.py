"""Nodes that do not agree, and a cluster that does."""

import pytest

from aiplat.cluster.checkup import NodeReport, agreement, check_cluster
from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import Session
from aiplat.doctor.finding import Finding

VERSIONS = {"python": "3.11.7", "ray": "2.60.0", "torch": "2.15.0", "aiplat": "0.1.0"}


def found(*reports: NodeReport) -> dict[str, Finding]:
    return {finding.name: finding for finding in agreement(reports)}


def test_nodes_that_agree_have_nothing_to_mend() -> None:
    findings = found(NodeReport("a", VERSIONS, 0.01, 8.0), NodeReport("b", VERSIONS, -0.3, 8.0))
    assert {finding.level for finding in findings.values()} == {"ok"}
    assert findings["ray on the nodes"].value == "2.60.0"
    assert findings["clocks"].value == "at most 0.30 s apart"


def test_another_ray_a_late_clock_and_a_small_store_are_told_with_their_node() -> None:
    findings = found(
        NodeReport("a", VERSIONS, 0.0, 8.0),
        NodeReport("b", VERSIONS | {"ray": "2.55.1"}, 0.0, 8.0),
        NodeReport("c", VERSIONS, -7.5, 0.2),
    )
    skew = findings["ray on the nodes"]
    assert (skew.level, skew.value) == ("problem", "2.60.0 on a, c; 2.55.1 on b")
    assert "one image" in skew.remedy
    assert findings["torch on the nodes"].level == "ok"
    clocks, store = findings["clocks"], findings["object store"]
    assert (clocks.level, clocks.value) == ("warning", "at most 7.50 s apart")
    assert "node c" in clocks.remedy
    assert (store.level, store.value) == ("warning", "at least 0.2 GB a node")
    assert "node c" in store.remedy


def test_where_no_cluster_runs_none_is_started() -> None:
    _, cluster = check_cluster(ClusterConfig(address="local"))
    assert cluster.level == "ok"
    assert cluster.value.startswith("none runs here")


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_real_node_tells_its_versions_and_its_time(cluster: Session) -> None:
    from aiplat.cluster.checkup import _asked

    (report,) = _asked()
    assert report.versions["ray"] == "2.60.0"
    assert abs(report.ahead_s) < 1
    assert report.store_gb > 0.05
