"""TensorRT: NVIDIA's compiler, reached as a provider of ONNX Runtime. It takes a GPU.

Not tried yet: no machine this was written on had one.
"""

from pathlib import Path
from typing import ClassVar

from aiplat.inference.engines import onnxruntime
from aiplat.inference.engines.engine import Given, Run
from aiplat.inference.engines.graph import Graph

_FILE = "graph.onnx"


class TensorRt:
    """Computes on an NVIDIA GPU; what it does not know, ONNX Runtime's CUDA kernels compute."""

    precisions: ClassVar = {"cuda": ("fp32", "fp16", "bf16")}

    def version(self) -> str:
        """Of ONNX Runtime, whose releases each go with one of TensorRT."""
        return onnxruntime.ENGINE.version()

    def compile(self, graph: Graph, target: Path, given: Given) -> None:
        """Write the ONNX file, and have TensorRT build its engine beside it."""
        onnxruntime.write_onnx(graph, target / _FILE)
        self.load(target, given)(graph.largest)

    def load(self, folder: Path, given: Given) -> Run:
        """Open a session on the engine that was built."""
        options = {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": str(folder),
            "trt_fp16_enable": given.precision == "fp16",
            "trt_bf16_enable": given.precision == "bf16",
        }
        providers = [("TensorrtExecutionProvider", options), "CUDAExecutionProvider"]
        return onnxruntime.session_on(folder / _FILE, providers, given.threads)


ENGINE = TensorRt()
