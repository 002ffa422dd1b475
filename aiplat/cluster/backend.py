"""How the ranks of a group exchange gradients: by NCCL between GPUs, by gloo between CPUs.

Nodes of this machine may be given GPUs it does not have, so that elasticity can be tried where
there are none. They say so by a label, and their workers compute on the CPU. On any other node, a
GPU that torch does not see is a fault: it would train a hundred times slower, and say nothing.
"""

from dataclasses import dataclass, replace
from typing import Any

import ray
import torch
from ray.train.torch import TorchConfig
from ray.train.torch.config import _TorchBackend

from aiplat.cluster.definition import SIMULATED_GPUS
from aiplat.errors import ClusterError


def uses_cuda() -> bool:
    """Whether this worker computes on a GPU, where it was given one."""
    return not _is_simulated() and torch.cuda.is_available()


def _is_simulated() -> bool:
    key, value = SIMULATED_GPUS
    return bool(ray.get_runtime_context().get_node_labels().get(key) == value)


def _sight() -> tuple[str, bool, bool]:
    """Of a worker: its node, whether its GPUs are made up, whether torch sees one."""
    node = ray.util.get_node_ip_address()
    return str(node), _is_simulated(), torch.cuda.is_available()


@dataclass
class GpuConfig(TorchConfig):
    """Torch's process group for workers that were each given a GPU."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        """What Ray Train starts on the workers."""
        return _GpuBackend


class _GpuBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """See Ray's Backend. Raises ClusterError where a node lacks what it claims."""
        sights = worker_group.execute(_sight)
        blind = sorted({node for node, is_simulated, sees in sights if not (is_simulated or sees)})
        if blind:
            raise ClusterError(
                f"torch sees no GPU on {', '.join(blind)}, which gave one to a worker: run "
                "'python -m aiplat.jobs.doctor' there"
            )
        any_simulated = any(is_simulated for _, is_simulated, _ in sights)
        backend = "gloo" if any_simulated else "nccl"
        super().on_start(worker_group, replace(backend_config, backend=backend))
