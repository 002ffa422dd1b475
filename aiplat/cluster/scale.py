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
        job holds when the run starts.
    cpus_per_worker: CPUs given to each worker, its threads among them; `auto`: an equal share.
    use_gpu: whether each worker gets a GPU; `auto`: where the cluster has any.
    max_failures: how often a run starts again from its last checkpoint after a worker is lost.
    """

    num_workers: int | Literal["auto"] = "auto"
    cpus_per_worker: float | Literal["auto"] = "auto"
    use_gpu: bool | Literal["auto"] = "auto"
    max_failures: int = 3

    def __post_init__(self) -> None:
        if self.num_workers != "auto" and self.num_workers < 1:
            raise ConfigError(f"num_workers is {self.num_workers}, expected auto or at least 1")
        if self.cpus_per_worker != "auto" and self.cpus_per_worker <= 0:
            raise ConfigError(
                f"cpus_per_worker is {self.cpus_per_worker}, expected auto or more than 0"
            )
        if self.max_failures < 0:
            raise ConfigError(f"max_failures is {self.max_failures}, it cannot be negative")
