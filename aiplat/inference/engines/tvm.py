"""Apache TVM: a compiler of tensor programs. Untuned, as here, it is exact and slow."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from aiplat.inference.engines.engine import Given, Run, missing
from aiplat.inference.engines.graph import Graph

_FILE = "graph.so"
_EXTRA = "tvm"


class Tvm:
    """Computes on the CPU, by machine code for this very processor."""

    precisions: ClassVar = {"cpu": ("fp32",)}

    def version(self) -> str:
        """Of TVM."""
        return str(_library().__version__)

    def compile(self, graph: Graph, target: Path, given: Given) -> None:  # noqa: ARG002
        """Compile by TVM's plain pipeline; it takes a C++ compiler to link."""
        library = _library()
        from tvm import relax
        from tvm.relax.frontend.torch import from_exported_program

        module = relax.get_pipeline("zero")(from_exported_program(graph.exported()))
        processor = library.target.Target.from_device("cpu")
        library.compile(module, target=processor).export_library(str(target / _FILE))

    def load(self, folder: Path, given: Given) -> Run:
        """Open the library; TVM reads the number of its threads once a process."""
        os.environ["TVM_NUM_THREADS"] = str(given.threads)
        library = _library()
        from tvm import relax

        module = library.runtime.load_module(str(folder / _FILE))
        machine = relax.VirtualMachine(module, library.cpu())

        def run(tensors: Sequence[Tensor]) -> list[Tensor]:
            outputs = machine["main"](
                *(library.runtime.tensor(tensor.numpy()) for tensor in tensors)
            )
            return [torch.from_numpy(output.numpy()) for output in outputs]

        return run


def _library() -> Any:
    try:
        import tvm
    except ImportError as error:
        raise missing("TVM", _EXTRA) from error
    return tvm


ENGINE = Tvm()
