"""torch's own compiler, ahead of time (AOTInductor): machine code for one kind of processor."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from aiplat.inference.engines.engine import Given, Run
from aiplat.inference.engines.graph import Graph

_PACKED = "graph.pt2"
_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Compile:
    """Computes with kernels that torch's inductor wrote and the machine's compiler built."""

    precisions: ClassVar = {"cpu": ("fp32", "bf16", "fp16"), "cuda": ("fp32", "bf16", "fp16")}

    def version(self) -> str:
        """Of torch."""
        return torch.__version__

    def compile(self, graph: Graph, target: Path, given: Given) -> None:
        """Compile; it takes a C++ compiler, and tens of seconds."""
        from torch._inductor import aoti_compile_and_package

        package = target / _PACKED
        aoti_compile_and_package(
            graph.exported(_DTYPES.get(given.precision)),
            package_path=str(package),
            # Weights as constants: converted and laid out once, and not at every call.
            inductor_configs={"freezing": True},
        )
        # torch would unpack it for each process anew, and leave that behind where one is killed.
        with zipfile.ZipFile(package) as packed:
            packed.extractall(target)
        package.unlink()

    def load(self, folder: Path, given: Given) -> Run:  # noqa: ARG002
        """The machine code; its threads are torch's."""
        from torch._inductor import aoti_load_package

        # As an older aiplat left it.
        packed = folder / _PACKED
        runner = aoti_load_package(str(packed if packed.exists() else folder))

        def run(tensors: Sequence[Tensor]) -> list[Tensor]:
            outputs = runner(*tensors)
            return [outputs] if isinstance(outputs, Tensor) else list(outputs)

        return run


ENGINE = Compile()
