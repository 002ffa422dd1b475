"""IREE: an MLIR compiler and its small runtime. It compiles few networks, and few quickly."""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._decomp import get_decompositions

from aiplat.inference.engines.engine import Given, Run, missing
from aiplat.inference.engines.graph import Graph

_FILE = "graph.vmfb"
_EXTRA = "iree"


class Iree:
    """Computes on the CPU, by machine code for this very processor."""

    precisions: ClassVar = {"cpu": ("fp32",)}

    def version(self) -> str:
        """Of the runtime."""
        _runtime()
        return metadata.version("iree-base-runtime")

    def compile(self, graph: Graph, target: Path, given: Given) -> None:  # noqa: ARG002
        """Compile; it takes minutes."""
        try:
            from iree.turbine import aot
        except ImportError as error:
            raise missing("IREE's compiler", _EXTRA) from error
        # What its importer has no rule for.
        table = get_decompositions([torch.ops.aten._native_batch_norm_legit_no_training])
        output = aot.export(graph.exported().run_decompositions(table))
        output.session.set_flags("--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3")
        output.compile(save_to=str(target / _FILE), target_backends=("llvm-cpu",))

    def load(self, folder: Path, given: Given) -> Run:
        """Open the module, on a pool of the threads that are given."""
        runtime = _runtime()
        runtime.flags.parse_flags(f"--task_topology_max_group_count={given.threads}")
        module = runtime.load_vm_flatbuffer_file(str(folder / _FILE), driver="local-task")

        def run(tensors: Sequence[Tensor]) -> list[Tensor]:
            outputs = module.main(*(tensor.numpy() for tensor in tensors))
            several = outputs if isinstance(outputs, tuple | list) else (outputs,)
            return [torch.from_numpy(output.to_host()) for output in several]

        return run


def _runtime() -> Any:
    try:
        import iree.runtime
    except ImportError as error:
        raise missing("IREE", _EXTRA) from error
    return iree.runtime


ENGINE = Iree()
