"""What a cluster could ever hold, and what is said of what it could not."""

import pytest

from aiplat.cluster.growth import NodeGroup, check_can_hold
from aiplat.errors import ClusterError

HEAD = NodeGroup("head", {"CPU": 0.0}, 1)
CPU = NodeGroup("cpu", {"CPU": 8.0}, 4)
SMALL = NodeGroup("gpu-small", {"CPU": 8.0, "GPU": 1.0}, 2)
LARGE = NodeGroup("gpu-large", {"CPU": 48.0, "GPU": 8.0}, 1)
CLOSED = NodeGroup("gpu-spot", {"CPU": 8.0, "GPU": 1.0}, 0)
ALL = [HEAD, CPU, SMALL, LARGE, CLOSED]
WITH_GPU = {"CPU": 2.0, "GPU": 1.0}


def refused(groups: list[NodeGroup], bundle: dict[str, float], count: int) -> str:
    with pytest.raises(ClusterError) as error:
        check_can_hold(groups, bundle, count)
    return str(error.value)


def test_workers_are_counted_by_whole_nodes() -> None:
    assert [group.room(WITH_GPU) for group in ALL] == [0, 0, 2, 8, 0]
    assert [group.room({"CPU": 5.0}) for group in ALL] == [0, 4, 2, 9, 0]
    # Three times a tenth is a little more than it should be.
    assert NodeGroup("tenths", {"CPU": 0.3}, 1).room({"CPU": 0.1}) == 3


def test_what_fits_passes() -> None:
    check_can_hold(ALL, WITH_GPU, 10)
    check_can_hold(ALL, {"CPU": 5.0}, 15)


def test_too_many_are_refused_with_how_many_there_may_be() -> None:
    told = refused(ALL, WITH_GPU, 11)
    assert told.startswith("scale.num_workers=11 with 1 GPUs and 2 CPUs each never fits on this")
    assert "(gpu-small holds 2, gpu-large holds 8): set scale.num_workers=10, or raise" in told


def test_workers_that_are_too_large_for_any_node_are_refused_with_the_widest() -> None:
    told = refused([HEAD, CPU, SMALL], {"CPU": 16.0, "GPU": 1.0}, 1)
    assert "no node has as much (head: nothing; cpu: 8 CPUs; gpu-small: 1 GPUs and 8 CPUs)" in told
    assert told.endswith("set scale.cpus_per_worker=8, which gpu-small has")


def test_a_cluster_without_gpus_says_so() -> None:
    told = refused([HEAD, CPU, CLOSED], WITH_GPU, 1)
    assert told.endswith("no node type has a GPU: set scale.use_gpu=false, or add one")
