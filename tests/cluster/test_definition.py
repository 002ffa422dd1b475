"""What a definition refuses, with the name of what is wrong."""

import pytest

from aiplat.errors import ConfigError
from tests.cluster.render.clusters import defined


@pytest.mark.parametrize(
    ("override", "told"),
    [
        (
            "cluster.head_node_type=haed",
            r"head_node_type is 'haed', which is no node type; did you mean 'head'\?",
        ),
        (
            "cluster.node_types.gpu-smal.max_nodes=3",
            r"cluster.node_types.gpu-smal .*no such entry; did you mean 'gpu-small'\?",
        ),
        (
            "cluster.node_types.cpu.max_node=3",
            r"cluster.node_types.cpu.max_node .*did you mean 'cluster.node_types.cpu.max_nodes'",
        ),
        ("cluster.node_types.cpu.min_nodes=9", "min_nodes is 9, more than max_nodes=8"),
        ("cluster.node_types.cpu.cpus=-1", "cpus is -1, it cannot be negative"),
        ("cluster.node_types.cpu.memory_gb=0", "memory_gb is 0, expected at least 1"),
        ("cluster.node_types.cpu.labels={ray.io/zone: a}", "Ray keeps 'ray.io/' for its own"),
        ("cluster.name=My_Cluster", "'My_Cluster' names a cluster or a node type"),
        ("cluster.image=null", "node_types.head has no image"),
        ("cluster.idle_timeout_s=0", "must be more than 0"),
        ("cluster.kubernetes=null", "provider=kuberay needs the section 'kubernetes'"),
        ("cluster.node_types.cpu.gpus=one", r"node_types.cpu.gpus .*expected int, got 'one'"),
    ],
)
def test_what_cannot_be_is_named(override: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        defined("kuberay", override)


def test_a_cluster_of_a_head_alone_is_refused() -> None:
    with pytest.raises(ConfigError, match="node_types has a head only"):
        defined("local", "~cluster.node_types.cpu")


def test_a_node_type_can_be_added_on_the_command_line() -> None:
    cluster = defined(
        "kuberay",
        "cluster.node_types.inference={cpus: 4, memory_gb: 16, gpus: 1, max_nodes: 3}",
    )
    assert cluster.workers["inference"].resources == {"CPU": 4, "GPU": 1, "memory": 16 << 30}
    assert cluster.max_workers == 8 + 16 + 8 + 8 + 2 + 3
