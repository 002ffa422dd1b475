"""OpenVINO: Intel's runtime, quick on any x86 processor; int8 by NNCF."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from aiplat.inference.engines.engine import EngineError, Given, Run, missing
from aiplat.inference.engines.graph import Graph

_FILE = "graph.xml"
_EXTRA = "openvino"
# int8 says what the quantised layers compute in; the others are then left in fp32.
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}
_ATTENTION = ("ScaledDotProductAttention", "Softmax")


class OpenVino:
    """Computes on the CPU with a thread pool of its own."""

    precisions: ClassVar = {"cpu": ("fp32", "bf16", "fp16", "int8")}

    def version(self) -> str:
        """Of OpenVINO."""
        return str(_library().__version__)

    def compile(self, graph: Graph, target: Path, given: Given) -> None:
        """Write the intermediate representation; its precision is chosen when it is loaded."""
        library = _library()
        model = library.convert_model(graph.exported())
        # The converter forgets sizes that do not vary; kernels for known ones are quicker.
        model.reshape(dict(enumerate(library.PartialShape(list(sizes)) for sizes in graph.sizes)))
        if given.precision == "int8":
            model = _quantised(model, graph)
        library.save_model(model, target / _FILE, compress_to_fp16=False)

    def load(self, folder: Path, given: Given) -> Run:
        """Read the representation and build its kernels."""
        library = _library()
        settings = {
            "INFERENCE_PRECISION_HINT": _HINTS[given.precision],
            "INFERENCE_NUM_THREADS": given.threads,
            "NUM_STREAMS": 1,
            # Pinned, all replicas of a node would share its first cores.
            "ENABLE_CPU_PINNING": False,
        }
        request = (
            library.Core()
            .compile_model(str(folder / _FILE), "CPU", settings)
            .create_infer_request()
        )

        def run(tensors: Sequence[Tensor]) -> list[Tensor]:
            arrays = {place: tensor.numpy() for place, tensor in enumerate(tensors)}
            outputs = request.infer(arrays, share_inputs=True)
            return [torch.from_numpy(array) for array in outputs.to_tuple()]

        return run


def _library() -> Any:
    # It would report each conversion to its makers; without this module it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise missing("OpenVINO", _EXTRA) from error
    return openvino


def _quantised(model: Any, graph: Graph) -> Any:
    """The model in 8 bits, its ranges those that the calibration rows have."""
    try:
        import nncf
    except ImportError as error:
        raise missing("NNCF", _EXTRA) from error
    if not graph.calibration:
        raise EngineError("int8 needs rows to calibrate with: python -m aiplat.jobs.optimize")
    rows = [tuple(tensor.numpy() for tensor in tensors) for tensors in graph.calibration]
    has_attention = any(node.get_type_name() in _ATTENTION for node in model.get_ops())
    return nncf.quantize(
        model,
        nncf.Dataset(rows),
        subset_size=len(rows),
        model_type=nncf.ModelType.TRANSFORMER if has_attention else None,
    )


ENGINE = OpenVino()
