"""Which cluster a job uses and how much of it: plain settings that know no Ray."""

from dataclasses import dataclass
from typing import Literal

from aiplat.errors import ConfigError


@dataclass
class ClusterConfig:
    """The cluster to join, or to start on this machine.

    address: `auto` joins the cluster this machine knows of and starts one where there is none;
        `local` always starts one; anything else is the address of one (`ray://head:10001`).
    num_cpus: CPUs of a cluster started here; null: those of the machine.
    num_gpus: GPUs of a cluster started here; null: those of the machine.
    dashboard_port: port of the dashboard of a cluster started here; null: the first free one.
    """

    address: str = "auto"
    num_cpus: int | None = None
    num_gpus: int | None = None
    dashboard_port: int | None = None

    def __post_init__(self) -> None:
        if not self.address:
            raise ConfigError("address is empty: set it to auto, local or the address of a cluster")
        if self.num_cpus is not None and self.num_cpus < 1:
            raise ConfigError(f"num_cpus is {self.num_cpus}, a cluster needs at least 1")
        if self.num_gpus is not None and self.num_gpus < 0:
            raise ConfigError(f"num_gpus is {self.num_gpus}, it cannot be negative")


@dataclass
class ScaleConfig:
    """The workers of a training run.

    num_workers: processes that share each step; `auto`: one for each GPU, or CPU, that no other
        job holds when the run starts; `[min, max]`: as many of them as the cluster has room for,
        which may change during the run.
    cpus_per_worker: CPUs given to each worker, its threads among them; `auto`: an equal share.
    use_gpu: whether each worker gets a GPU; `auto`: where the cluster has any.
    gpus_per_worker: a share of a GPU for each trial of a search that has one worker.
    resize_check_s: seconds between looks at whether the cluster has room for more of `max`.
    strategy: `ddp` gives every worker the whole model; `fsdp` cuts weights, gradients and optimizer
        state into a part for each, for models that one GPU cannot hold with all of these.
    max_failures: how often a run starts again from its last checkpoint after a worker was lost or
        hung. Not counted are lost nodes and preemption, as long as the run gains steps in between.
    """

    num_workers: int | list[int] | Literal["auto"] = "auto"
    cpus_per_worker: float | Literal["auto"] = "auto"
    use_gpu: bool | Literal["auto"] = "auto"
    gpus_per_worker: float = 1.0
    resize_check_s: float = 30.0
    strategy: Literal["ddp", "fsdp"] = "ddp"
    max_failures: int = 3

    def __post_init__(self) -> None:
        if isinstance(self.num_workers, list):
            if len(self.num_workers) != 2 or not 1 <= self.num_workers[0] <= self.num_workers[1]:
                raise ConfigError(
                    f"num_workers is {self.num_workers}, expected [min, max] such as [1, 4]"
                )
        elif self.num_workers != "auto" and self.num_workers < 1:
            raise ConfigError(
                f"num_workers is {self.num_workers}, expected auto, [min, max] or at least 1"
            )
        if self.resize_check_s <= 0:
            raise ConfigError(f"resize_check_s is {self.resize_check_s}, expected more than 0")
        if self.cpus_per_worker != "auto" and self.cpus_per_worker <= 0:
            raise ConfigError(
                f"cpus_per_worker is {self.cpus_per_worker}, expected auto or more than 0"
            )
        if self.max_failures < 0:
            raise ConfigError(f"max_failures is {self.max_failures}, it cannot be negative")
        self._check_gpus()

    def _check_gpus(self) -> None:
        if not 0 < self.gpus_per_worker <= 1:
            raise ConfigError(
                f"gpus_per_worker is {self.gpus_per_worker}, expected more than 0 and at most 1"
            )
        if self.gpus_per_worker < 1 and self.num_workers not in ("auto", 1):
            raise ConfigError(
                f"gpus_per_worker is {self.gpus_per_worker}, but workers of one run cannot share a "
                f"GPU: expected 1 with num_workers={self.num_workers}"
            )
