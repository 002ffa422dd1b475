"""How many workers a run gets on this cluster, and what each of them is given."""

from dataclasses import dataclass

import ray

from aiplat.cluster.scale import ScaleConfig
from aiplat.errors import ClusterError

# What workers sized automatically leave free: reading a dataset needs CPUs of its own, and a run
# whose workers hold every CPU waits for ever for blocks that a lost node took along.
_SHARE = 0.75


@dataclass(frozen=True)
class WorkerGroup:
    """The workers of a run.

    cpus: CPUs that each worker reserves; threads: threads that each computes with.
    """

    num_workers: int
    cpus: float
    threads: int
    use_gpu: bool

    @property
    def resources(self) -> dict[str, float]:
        """What Ray reserves for each worker."""
        return {"CPU": self.cpus, **({"GPU": 1} if self.use_gpu else {})}


def plan_group(scale: ScaleConfig, can_grow: bool) -> WorkerGroup:
    """Fill in what `scale` leaves to the cluster.

    can_grow: the cluster may add nodes, so that more can be asked for than it has now. Raises
    ClusterError where a cluster that cannot grow lacks what `scale` asks for.
    """
    has = ray.cluster_resources()
    cpus, gpus = has.get("CPU", 0.0), int(has.get("GPU", 0))
    use_gpu = gpus > 0 if scale.use_gpu == "auto" else scale.use_gpu
    if scale.num_workers == "auto":
        num_workers = max(1, gpus if use_gpu else int(cpus))
    else:
        num_workers = scale.num_workers
    if scale.cpus_per_worker == "auto":
        each = max(0.01, round(_SHARE * cpus / num_workers, 2)) if cpus else 1.0
        threads = max(1, int(cpus / num_workers))
    else:
        each, threads = scale.cpus_per_worker, max(1, int(scale.cpus_per_worker))
    group = WorkerGroup(num_workers=num_workers, cpus=each, threads=threads, use_gpu=use_gpu)
    if not can_grow:
        _check_fits(group, cpus, gpus)
    return group


def _check_fits(group: WorkerGroup, cpus: float, gpus: int) -> None:
    if group.use_gpu and group.num_workers > gpus:
        raise ClusterError(
            f"scale.num_workers={group.num_workers} with a GPU each, but the cluster has {gpus}: "
            f"set scale.num_workers={max(gpus, 1)}, or scale.use_gpu=false"
        )
    needs = group.num_workers * group.cpus
    if needs > cpus:
        raise ClusterError(
            f"scale.num_workers={group.num_workers} with scale.cpus_per_worker={group.cpus:g} "
            f"needs {needs:g} CPUs, the cluster has {cpus:g}: lower one of them"
        )
