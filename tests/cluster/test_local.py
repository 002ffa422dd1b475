"""The record of a cluster of this machine: what it names, and what `down` leaves alone."""

import json
import socket
import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from aiplat.cluster.autoscaling import autoscaling_config
from aiplat.cluster.local import LocalCluster, LocalNode, _ports, find, stop
from aiplat.cluster.ports import free_ports
from aiplat.cluster.processes import began
from aiplat.errors import ClusterError
from tests.cluster.render.clusters import defined


def recorded(folder: Path, *nodes: LocalNode, host: str | None = None) -> LocalCluster:
    cluster = LocalCluster("local", "10.0.0.1:1", "", host or socket.gethostname(), nodes)
    folder.mkdir(exist_ok=True)
    (folder / "cluster.json").write_text(json.dumps(asdict(cluster)))
    return cluster


def test_a_cluster_is_found_by_its_record(tmp_path: Path) -> None:
    assert find(tmp_path / "none") is None
    cluster = recorded(tmp_path / "local", LocalNode("head", 1, began(1)))
    assert find(tmp_path / "local") == cluster


def test_one_of_another_machine_is_ended_there(tmp_path: Path) -> None:
    recorded(tmp_path, LocalNode("head", 1, 1), host="elsewhere")
    with pytest.raises(ClusterError, match="local was started on elsewhere: end it there"):
        find(tmp_path)


def test_its_processes_are_ended_and_no_other_that_took_a_number(tmp_path: Path) -> None:
    head = subprocess.Popen(["bash", "-c", "sleep 61 & wait"])
    stranger = subprocess.Popen(["sleep", "62"])
    try:
        born = began(stranger.pid)
        assert born is not None
        nodes = (
            LocalNode("head", head.pid, began(head.pid)),
            # Of a process that ended, and whose number was used again.
            LocalNode("cpu", stranger.pid, born - 1),
        )
        cluster = recorded(tmp_path / "local", *nodes)
        assert cluster.is_running()
        assert stop(cluster, tmp_path / "local") >= 1
        head.wait(10)
        assert not cluster.is_running()
        assert stranger.poll() is None
        assert find(tmp_path / "local") is None
    finally:
        for process in (head, stranger):
            process.kill()
            process.wait()


def test_a_cluster_that_is_started_again_answers_where_it_did(tmp_path: Path) -> None:
    free, taken = free_ports(2)
    with socket.socket() as listener:
        listener.bind(("", taken))
        listener.listen()
        for dashboard, expected in ((free, True), (taken, False)):
            before = LocalCluster(
                "local", f"10.0.0.1:{free}", f"http://127.0.0.1:{dashboard}", "", ()
            )
            assert (_ports(before)[:2] == [free, dashboard]) is expected
    assert len(set(_ports(None))) == 3


def test_the_autoscaler_is_told_of_made_up_gpus_and_of_no_memory() -> None:
    cluster = defined("autoscaling_local", "cluster.node_types.gpu-small.max_nodes=3")
    config = autoscaling_config(cluster, "10.0.0.1:6379")
    assert config["max_workers"] == 2 + 3
    assert config["provider"]["module"] == "aiplat.cluster.fake_nodes.FakeNodes"
    assert config["provider"]["gcs_address"] == "10.0.0.1:6379"
    small, cpu = (config["available_node_types"][name] for name in ("gpu-small", "cpu"))
    assert (small["max_workers"], small["resources"]["GPU"]) == (3, 1)
    assert small["labels"] == {"market-type": "on-demand", "gpus": "simulated"}
    assert cpu["labels"] == {"market-type": "on-demand"}
    # Ray takes it for a resource of the user's, and starts no node.
    assert "memory" not in small["resources"]
    assert config["available_node_types"]["head"]["max_workers"] == 0
