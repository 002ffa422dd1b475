"""OpenVINO: Intel's runtime, quick on any x86 processor; int8 by NNCF."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack
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
# Of weights that are held twice, for passes in parts as well.
_MAX_COPIED_BYTES = 256 << 20
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
        core = _library().Core()
        model = core.read_model(str(folder / _FILE))
        whole = _compiled(core, model, given, 1).create_infer_request()

        def run(tensors: Sequence[Tensor]) -> list[Tensor]:
            arrays = {place: tensor.numpy() for place, tensor in enumerate(tensors)}
            outputs = whole.infer(arrays, share_inputs=True)
            return [torch.from_numpy(array) for array in outputs.to_tuple()]

        num_bytes = (folder / _FILE).with_suffix(".bin").stat().st_size
        if given.threads == 1 or num_bytes > _MAX_COPIED_BYTES or not _is_by_row(model):
            return run
        streams = _compiled(core, model, given, given.threads)
        return _InParts(run, [streams.create_infer_request() for _ in range(given.threads)])


class _InParts:
    """Gives each thread as many rows of its own, and lets all share the few that are left over.

    Threads that share a pass wait for each other in every layer, by turning, which costs most where
    something else needs a core as well.
    """

    def __init__(self, run: Run, requests: Sequence[Any]) -> None:
        self.run = run
        self.requests = requests

    def __call__(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        num_rows = len(tensors[0])
        spread = num_rows - num_rows % len(self.requests)
        if not spread:
            return self.run(tensors)
        computed = self._spread([tensor[:spread] for tensor in tensors])
        if spread < num_rows:
            computed.append(self.run([tensor[spread:] for tensor in tensors]))
        return [torch.cat(parts) for parts in zip(*computed, strict=True)]

    def _spread(self, tensors: Sequence[Tensor]) -> list[list[Tensor]]:
        parts = zip(*(tensor.chunk(len(self.requests)) for tensor in tensors), strict=True)
        # Each that was started is waited for, also where one fails.
        with ExitStack() as started:
            for request, part in zip(self.requests, parts, strict=True):
                arrays = {place: tensor.numpy() for place, tensor in enumerate(part)}
                request.start_async(arrays, share_inputs=True)
                started.callback(request.wait)
        return [
            [torch.from_numpy(array) for array in request.results.to_tuple()]
            for request in self.requests
        ]


def _compiled(core: Any, model: Any, given: Given, streams: int) -> Any:
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[given.precision],
        "INFERENCE_NUM_THREADS": given.threads,
        "NUM_STREAMS": streams,
        # Pinned, all replicas of a node would share its first cores.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(model, "CPU", settings)


def _is_by_row(model: Any) -> bool:
    """Whether the first size of all that goes in and comes out is the number of rows."""
    shapes = [port.get_partial_shape() for port in (*model.inputs, *model.outputs)]
    return all(len(shape) > 0 and shape[0].is_dynamic for shape in shapes)


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
