"""What is said while nodes are made, and what Ray's status is counted to."""

from types import SimpleNamespace

from aiplat.cluster.group import WorkerGroup
from aiplat.cluster.growth import NodeGroup
from aiplat.cluster.status import ClusterState, NodeCount, counted
from aiplat.cluster.waiting import Waiting

GROUP = WorkerGroup(least=2, most=2, cpus=1.0, threads=1, use_gpu=True)


def test_a_group_says_what_is_launched_for_it_and_for_how_long() -> None:
    waiting = Waiting(GROUP)
    waiting.began -= 34
    counts = {"head": NodeCount("head", busy=1), "gpu-small": NodeCount("gpu-small", pending=1)}
    assert (
        waiting.text(ClusterState(counts))
        == "2 of 2 GPU workers pending: node type gpu-small, launching 1, 34 s"
    )


def test_nodes_that_are_on_their_way_for_something_else_are_not_told() -> None:
    types = [NodeGroup("cpu", {"CPU": 8.0}, 4), NodeGroup("gpu-small", {"CPU": 8, "GPU": 1}, 2)]
    waiting = Waiting(GROUP, types)
    assert waiting.text(ClusterState({"cpu": NodeCount("cpu", pending=1)})) is None
    # Of a type that the cluster does not tell of, nobody knows.
    assert waiting.text(ClusterState({"new": NodeCount("new", pending=1)})) is not None


def test_nodes_that_are_there_and_launches_that_failed_are_told() -> None:
    waiting = Waiting(GROUP)
    count = NodeCount("gpu-small", busy=1, pending=1, failed=3)
    assert waiting.text(ClusterState({"gpu-small": count})) == (
        "2 of 2 GPU workers pending: "
        "node type gpu-small, launching 1, 1 there, 3 launches failed, 0 s"
    )


def test_a_group_that_others_leave_no_room_says_so_after_a_while() -> None:
    waiting = Waiting(GROUP)
    in_use = {"CPU": (7.5, 8.0), "GPU": (1.0, 2.0)}
    state = ClusterState({"head": NodeCount("head", busy=1)}, in_use, ({"CPU": 1.0, "GPU": 1},))
    assert waiting.text(state) is None
    waiting.began -= 34
    assert waiting.text(state) == (
        "2 of 2 GPU workers pending: "
        "the cluster has no room now: 7.5 of 8 CPUs, 1 of 2 GPUs in use, 34 s"
    )
    # Something else waits, and this group has its room.
    others = ClusterState(state.nodes, in_use, ({"CPU": 4.0},))
    assert waiting.text(others) is None


def test_it_is_over_when_the_workers_run_and_begins_anew_with_another_attempt() -> None:
    waiting = Waiting(GROUP)
    assert waiting.text(ClusterState({"head": NodeCount("head", idle=1)})) is None
    for rank in range(2):
        assert not waiting.is_over
        waiting.follow({"kind": "started", "rank": rank})
        waiting.follow({"kind": "step", "step": 1})
    assert waiting.is_over
    waiting.begin()
    assert not waiting.is_over


def node(node_type: str) -> SimpleNamespace:
    return SimpleNamespace(ray_node_type_name=node_type)


def launch(node_type: str, count: int, at: int) -> SimpleNamespace:
    return SimpleNamespace(ray_node_type_name=node_type, count=count, request_ts_s=at)


def test_nodes_are_counted_by_type_and_by_how_far_they_are() -> None:
    status = SimpleNamespace(
        active_nodes=[node("gpu")],
        idle_nodes=[node("head")],
        pending_nodes=[node("gpu")],
        pending_launches=[launch("gpu", 2, 90), launch("gpu", 1, 70)],
        failed_launches=[launch("spot", 4, 60)],
    )
    counts = counted(status, now=100.0)
    gpu, head, spot = counts["gpu"], counts["head"], counts["spot"]
    assert (gpu.running, gpu.busy, gpu.pending, gpu.waited_s) == (1, 1, 4, 30.0)
    assert (head.running, head.idle, head.pending, head.waited_s) == (1, 1, 0, None)
    assert (spot.running, spot.failed) == (0, 4)
