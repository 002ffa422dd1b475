"""Ray's own autoscaler on this machine: nodes come for what is asked, and go when they are idle.

The cluster and the training are started by the commands that people use; times are printed.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from aiplat.cluster.local import LocalCluster, find
from aiplat.cluster.processes import began, descendants
from aiplat.cluster.status import NodeCount, node_counts
from aiplat.datasets.synthetic import separable_table
from aiplat.training.logs import read_events

pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TRAIN = (
    "+exp=tabular",
    "dataset.name=table",
    "loop.max_epochs=2",
    "register.name=table",
    "tracking=none",
    "scale.use_gpu=true",
)


@dataclass
class Place:
    """Where commands are run. environment: they join the cluster of `storage` by themselves."""

    storage: Path
    environment: dict[str, str]
    port: int

    def call(self, job: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"aiplat.jobs.{job}", *arguments]
        return subprocess.run(
            [*command, f"storage={self.storage}"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def serve(self, *arguments: str) -> None:
        settings = ("serve.detach=true", "serve.auth=false", f"serve.port={self.port}")
        done = self.call("serve", *settings, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def cluster(self) -> LocalCluster | None:
        return find(self.storage / "clusters" / "autoscaling-local")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, serve_port: int) -> Iterator[Place]:
    storage = tmp_path_factory.mktemp("storage")
    separable_table(600).write(str(storage), "table", num_val=60, num_test=60)
    # Ray puts sockets there, whose paths may not be longer than 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        environment = {**os.environ, "RAY_TMPDIR": folder}
        # So long Serve's proxy stays on a node whose replicas are gone, 30 s otherwise.
        environment["RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S"] = "1"
        environment.pop("RAY_ADDRESS", None)
        place = Place(storage, environment, serve_port)
        up = place.call("cluster", "up", "cluster=autoscaling_local", "cluster.idle_timeout_s=6")
        assert up.returncode == 0, up.stderr
        yield place
        place.call("cluster", "down", "cluster=autoscaling_local")


@pytest.fixture
def address(place: Place) -> str:
    cluster = place.cluster()
    assert cluster is not None
    return cluster.address


def gpu_nodes(address: str) -> NodeCount:
    return node_counts(address).get("gpu-small", NodeCount("gpu-small"))


def until(address: str, running: int, timeout_s: float) -> float:
    """Seconds until so many GPU nodes run."""
    asked_at = time.monotonic()
    while gpu_nodes(address).running != running:
        assert time.monotonic() - asked_at < timeout_s, node_counts(address)
        time.sleep(0.25)
    return time.monotonic() - asked_at


def test_a_training_brings_the_gpu_nodes_it_asks_for_and_they_go_when_it_ends(
    place: Place, address: str
) -> None:
    assert gpu_nodes(address) == NodeCount("gpu-small")
    done = place.call("train", *TRAIN, "name=grown", "scale.num_workers=2")
    assert done.returncode == 0, done.stdout + done.stderr
    gone_after = until(address, running=0, timeout_s=60)
    events = list(read_events(str(place.storage / "runs" / "grown")))
    waiting = [event for event in events if event["kind"] == "waiting"]
    assert waiting[0]["text"].startswith("2 of 2 GPU workers pending: node type gpu-small, launchi")
    assert waiting[0]["text"] in done.stdout
    started = [event for event in events if event["kind"] == "started"]
    # GPUs that are made up compute on the CPU, each on a node of its own.
    (start,) = [event for event in events if event["kind"] == "start"]
    assert start["world_size"] == 2
    assert len({event["node"] for event in events if event["kind"] == "worker"}) == 2
    print(  # noqa: T201 - the times are what one wants to know
        f"\nasked for nodes to workers that run: {started[-1]['at'] - waiting[0]['at']:.1f} s; "
        f"end of the run to no GPU node: {gone_after:.1f} s"
    )


def test_an_endpoint_brings_a_gpu_node_when_it_is_asked_and_gives_it_back_when_it_is_not(
    place: Place, address: str
) -> None:
    scaling = "serve.autoscaling={min_replicas: 0, max_replicas: 1, downscale_delay_s: 1}"
    place.serve("models=[table@champion]", "serve.replica.num_gpus=1", scaling)
    try:
        # Its models were asked what they take.
        assert gpu_nodes(address).running == 1
        gone_after = until(address, running=0, timeout_s=60)
        with httpx.Client(
            base_url=f"http://127.0.0.1:{place.port}", timeout=120, trust_env=False
        ) as client:
            example = client.get("/v1/models/table").json()["example"]
            asked_at = time.monotonic()
            answer = client.post("/v1/models/table:predict", json=example)
            took = time.monotonic() - asked_at
        assert (answer.status_code, len(answer.json()["predictions"])) == (200, 1), answer.text
    finally:
        place.serve("serve.down=true")
    print(  # noqa: T201
        f"\nnobody asks to no GPU node: {gone_after:.1f} s; asked then to the answer: {took:.1f} s"
    )


def test_what_the_cluster_can_never_hold_fails_at_once_and_names_what_fits(
    place: Place, address: str
) -> None:
    asked_at = time.monotonic()
    done = place.call("train", *TRAIN, "name=endless", "scale.num_workers=3")
    took = time.monotonic() - asked_at
    assert done.returncode == 2
    assert "scale.num_workers=3 with 1 GPUs" in done.stderr
    assert "(gpu-small holds 2): set scale.num_workers=2, or raise max_nodes" in done.stderr
    assert gpu_nodes(address).pending == 0
    print(f"\nrefused after {took:.1f} s, the start of the job included")  # noqa: T201


def test_the_cluster_says_what_it_has_and_ends_all_its_processes(place: Place) -> None:
    shown = place.call("cluster", "status", "cluster=autoscaling_local")
    assert "gpu-small" in shown.stdout
    again = place.call("cluster", "up", "cluster=autoscaling_local")
    assert again.returncode == 2
    assert "runs already at" in again.stderr
    cluster = place.cluster()
    assert cluster is not None
    (head,) = cluster.nodes
    processes = [head.pid, *descendants(head.pid)]
    assert len(processes) > 5
    down = place.call("cluster", "down", "cluster=autoscaling_local")
    assert f"{len(processes)} processes were ended" in down.stdout
    time.sleep(1)
    assert [pid for pid in processes if began(pid) is not None] == []
    assert place.cluster() is None


def test_a_fixed_cluster_of_this_machine_has_the_nodes_it_was_described_with(place: Place) -> None:
    up = place.call("cluster", "up", "cluster.node_types.cpu.min_nodes=1")
    try:
        assert up.returncode == 0, up.stderr
        assert "local is up with 2 nodes" in up.stdout
        cluster = find(place.storage / "clusters" / "local")
        assert cluster is not None
        counts = node_counts(cluster.address)
        assert {name: count.running for name, count in counts.items()} == {"cpu": 1, "head": 1}
        shown = place.call("doctor", "measure=false", "format=json")
        assert f"2 nodes at {cluster.address}" in shown.stdout
    finally:
        place.call("cluster", "down")
