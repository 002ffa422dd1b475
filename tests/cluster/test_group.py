"""How many workers a run asks for, by what the cluster has and what other jobs left of it."""

from collections.abc import Callable
from typing import Any

import pytest
import ray

from aiplat.cluster import group
from aiplat.cluster.group import plan_group
from aiplat.cluster.growth import NodeGroup
from aiplat.cluster.scale import ScaleConfig
from aiplat.cluster.session import Session
from aiplat.errors import ClusterError

Lend = Callable[..., None]


@pytest.fixture
def lend(monkeypatch: pytest.MonkeyPatch) -> Lend:
    """A cluster that has `has`, and of it each of `free` in turn, the last for good."""

    def given(has: dict[str, float], *free: dict[str, float]) -> None:
        answers = list(free)
        monkeypatch.setattr(group, "_PATIENCE_S", 0.05)
        monkeypatch.setattr(group, "_LOOK_EVERY_S", 0.01)
        monkeypatch.setattr(group, "node_groups", list)
        monkeypatch.setattr(ray, "cluster_resources", lambda: has)
        monkeypatch.setattr(
            ray, "available_resources", lambda: answers.pop(0) if answers[1:] else answers[0]
        )

    return given


@pytest.mark.parametrize(
    ("free", "options", "num_workers", "cpus"),
    [
        ({"CPU": 8.0}, {}, 8, 0.75),
        ({"CPU": 3.0}, {}, 3, 0.75),
        ({"CPU": 3.9}, {"cpus_per_worker": 2.0}, 1, 2.0),
        ({"CPU": 1.0}, {"cpus_per_worker": 0.25}, 4, 0.25),
    ],
)
def test_automatic_workers_take_what_other_jobs_leave(
    lend: Lend, free: dict[str, float], options: Any, num_workers: int, cpus: float
) -> None:
    lend({"CPU": 8.0}, free)
    planned = plan_group(ScaleConfig(**options), can_grow=False)
    assert (planned.most, planned.cpus) == (num_workers, cpus)


def test_automatic_workers_take_the_free_gpus_and_a_share_of_the_free_cpus(lend: Lend) -> None:
    lend({"CPU": 32.0, "GPU": 8.0}, {"CPU": 16.0, "GPU": 2.0})
    planned = plan_group(ScaleConfig(), can_grow=False)
    assert (planned.most, planned.use_gpu, planned.cpus) == (2, True, 6.0)


def test_workers_asked_for_by_number_are_planned_for_the_whole_cluster(lend: Lend) -> None:
    lend({"CPU": 8.0}, {})
    planned = plan_group(ScaleConfig(num_workers=4), can_grow=False)
    assert (planned.most, planned.cpus) == (4, 1.5)


def test_what_a_job_gives_back_in_a_moment_is_waited_for(lend: Lend) -> None:
    lend({"CPU": 4.0}, {}, {"CPU": 0.5}, {"CPU": 2.0})
    assert plan_group(ScaleConfig(), can_grow=False).most == 2


def test_a_cluster_that_is_in_use_is_an_error_that_says_what_to_do(lend: Lend) -> None:
    lend({"CPU": 4.0}, {"CPU": 0.5})
    with pytest.raises(ClusterError, match=r"0.5 of 4 CPUs are free.* the run then queues"):
        plan_group(ScaleConfig(), can_grow=True)
    lend({"CPU": 4.0, "GPU": 1.0}, {"CPU": 4.0})
    with pytest.raises(ClusterError, match=r"4 of 4 CPUs and 0 of 1 GPUs are free"):
        plan_group(ScaleConfig(), can_grow=True)


def test_a_cluster_that_has_no_node_yet_is_asked_for_one_worker(lend: Lend) -> None:
    lend({}, {})
    planned = plan_group(ScaleConfig(), can_grow=True)
    assert (planned.most, planned.cpus) == (1, 1.0)


def test_what_would_never_fit_is_refused_before_anything_waits_for_it(
    lend: Lend, monkeypatch: pytest.MonkeyPatch
) -> None:
    lend({"CPU": 1.0}, {})
    types = [NodeGroup("head", {"CPU": 1.0}, 1), NodeGroup("gpu-small", {"CPU": 4, "GPU": 1}, 2)]
    monkeypatch.setattr(group, "node_groups", lambda: types)
    assert plan_group(ScaleConfig(num_workers=2, use_gpu=True), can_grow=True).least == 2
    # An elastic group needs room for its least workers.
    assert plan_group(ScaleConfig(num_workers=[2, 9], use_gpu=True), can_grow=True).most == 9
    with pytest.raises(ClusterError, match=r"never fits .*: set scale.num_workers=2, or raise"):
        plan_group(ScaleConfig(num_workers=3, use_gpu=True), can_grow=True)


@pytest.mark.cluster
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_real_cluster_tells_what_a_job_holds(cluster: Session) -> None:
    job = ray.remote(_Job).options(num_cpus=1).remote()
    ray.get(job.run.remote())
    assert plan_group(ScaleConfig(), can_grow=False).most == 1
    ray.kill(job)


class _Job:
    def run(self) -> None:
        """Nothing but its CPU."""


@pytest.mark.parametrize(
    ("has", "cpus", "threads"),
    # The last began while only half of its workers had room.
    [({"CPU": 4.0}, 0.75, 1), ({"CPU": 64.0}, 12.0, 16), ({"CPU": 2.0}, 0.75, 1)],
)
def test_an_elastic_group_shares_the_cluster_among_as_many_as_have_room(
    lend: Lend, has: dict[str, float], cpus: float, threads: int
) -> None:
    lend(has, has)
    planned = plan_group(ScaleConfig(num_workers=[2, 4]), can_grow=False)
    assert (planned.least, planned.most) == (2, 4)
    assert (planned.cpus, planned.threads) == (cpus, threads)


def test_an_elastic_group_needs_room_for_its_least_workers_only(lend: Lend) -> None:
    lend({"CPU": 8.0, "GPU": 2.0}, {})
    planned = plan_group(ScaleConfig(num_workers=[2, 8]), can_grow=False)
    assert (planned.least, planned.most, planned.use_gpu) == (2, 8, True)
    with pytest.raises(ClusterError, match=r"num_workers=\[3, 8\] with a GPU each.*has 2"):
        plan_group(ScaleConfig(num_workers=[3, 8]), can_grow=False)
