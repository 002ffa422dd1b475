"""How many workers a run gets on this cluster, and what each of them is given."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import ray

from aiplat.cluster.growth import check_can_hold, node_groups
from aiplat.cluster.scale import ScaleConfig
from aiplat.errors import ClusterError

# What workers sized automatically leave free: reading a dataset needs CPUs of its own, and a run
# whose workers hold every CPU waits for ever for blocks that a lost node took along.
_SHARE = 0.75

# Ray counts what a job held that has just ended as taken for a moment more.
_PATIENCE_S = 10.0
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class WorkerGroup:
    """The workers of a run.

    least, most: how many of them; a group of a fixed size has both alike. cpus: CPUs that each
    worker reserves; threads: threads that each computes with.
    """

    least: int
    most: int
    cpus: float
    threads: int
    use_gpu: bool

    @property
    def is_elastic(self) -> bool:
        """Whether the number of workers may change during the run."""
        return self.least < self.most

    @property
    def resources(self) -> dict[str, float]:
        """What Ray reserves for each worker."""
        return {"CPU": self.cpus, **({"GPU": 1} if self.use_gpu else {})}


def plan_group(scale: ScaleConfig, can_grow: bool) -> WorkerGroup:
    """Fill in what `scale` leaves to the cluster.

    can_grow: the cluster may add nodes, so that more can be asked for than it has now. Raises
    ClusterError where a cluster that cannot grow lacks what `scale` asks for, where one that can
    never has it, and where `scale.num_workers=auto` finds nothing free.
    """
    has = ray.cluster_resources()
    use_gpu = has.get("GPU", 0) > 0 if scale.use_gpu == "auto" else scale.use_gpu
    if scale.num_workers == "auto":
        has = _free(has, use_gpu)
    cpus, gpus = has.get("CPU", 0.0), int(has.get("GPU", 0))
    each = 1.0 if scale.cpus_per_worker == "auto" else scale.cpus_per_worker
    room = max(1, gpus if use_gpu else int(cpus / each))
    if scale.num_workers == "auto":
        least = most = room
    elif isinstance(scale.num_workers, list):
        least, most = scale.num_workers
    else:
        least = most = scale.num_workers
    if scale.cpus_per_worker == "auto":
        # An elastic group may begin on a cluster that has room for some of its workers only.
        sharing = max(least, min(most, room))
        each = _countable(_SHARE * cpus / sharing) if cpus else 1.0
        threads = max(1, int(cpus / sharing))
    else:
        each, threads = scale.cpus_per_worker, max(1, int(scale.cpus_per_worker))
    group = WorkerGroup(least=least, most=most, cpus=each, threads=threads, use_gpu=use_gpu)
    groups = node_groups() if can_grow else []
    if not can_grow:
        _check_fits(group, cpus, gpus)
    elif groups:
        check_can_hold(groups, group.resources, group.least)
    return group


def _countable(cpus: float) -> float:
    """A little less, so that it still goes into a node's CPUs as often as it should.

    Ray reserves in ten-thousandths and divides in floating point: sixteenths survive both.
    """
    return math.floor(cpus * 16) / 16 if cpus >= 1 / 16 else max(0.01, round(cpus, 2))


def _free(has: Mapping[str, float], use_gpu: bool) -> Mapping[str, float]:
    """What no other job holds of what the cluster has, after a moment for one to give back."""
    if not has.get("CPU"):
        # It has no node yet that computes, and adds the first when a worker is asked for.
        return has
    patient_until = time.monotonic() + _PATIENCE_S
    while True:
        free = ray.available_resources()
        if free.get("CPU", 0.0) >= 1 and (not use_gpu or free.get("GPU", 0.0) >= 1):
            return free
        if time.monotonic() > patient_until:
            break
        time.sleep(_LOOK_EVERY_S)
    kinds = ("CPU", "GPU") if use_gpu else ("CPU",)
    left = " and ".join(
        f"{free.get(kind, 0.0):g} of {has.get(kind, 0.0):g} {kind}s" for kind in kinds
    )
    raise ClusterError(
        f"scale.num_workers=auto takes what is free, but other jobs hold the cluster ({left} are "
        "free): wait for one to end, or set scale.num_workers to a number: the run then queues "
        "until there is room"
    )


def _check_fits(group: WorkerGroup, cpus: float, gpus: int) -> None:
    asked = f"[{group.least}, {group.most}]" if group.is_elastic else f"{group.least}"
    if group.use_gpu and group.least > gpus:
        raise ClusterError(
            f"scale.num_workers={asked} with a GPU each, but the cluster has {gpus}: "
            f"set scale.num_workers={max(gpus, 1)}, or scale.use_gpu=false"
        )
    needs = group.least * group.cpus
    if needs > cpus:
        raise ClusterError(
            f"scale.num_workers={asked} with scale.cpus_per_worker={group.cpus:g} "
            f"needs {needs:g} CPUs, the cluster has {cpus:g}: lower one of them"
        )
