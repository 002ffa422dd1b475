"""ONNX Runtime: Microsoft's runtime for ONNX files; int8 by its own static quantisation."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from aiplat.inference.engines.engine import EngineError, Given, Run, missing
from aiplat.inference.engines.graph import Graph

_FILE = "graph.onnx"
_EXTRA = "onnx"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxRuntime:
    """Computes on the CPU with a thread pool of its own, or on a GPU with onnxruntime-gpu."""

    # Its CPU kernels have no bf16, and convert fp16 back and forth.
    precisions: ClassVar = {"cpu": ("fp32", "int8"), "cuda": ("fp32", "fp16")}

    def version(self) -> str:
        """Of ONNX Runtime."""
        return str(_library().__version__)

    def compile(self, graph: Graph, target: Path, given: Given) -> None:
        """Write an ONNX file."""
        _library()
        if given.precision == "int8":
            plain = target / "plain.onnx"
            write_onnx(graph, plain)
            _quantise(plain, target / _FILE, graph)
            for file in target.glob("plain*"):
                file.unlink()
        else:
            write_onnx(graph, target / _FILE, half=given.precision == "fp16")

    def load(self, folder: Path, given: Given) -> Run:
        """Open a session on the file."""
        return session_on(folder / _FILE, [_PROVIDERS[given.device]], given.threads)


def session_on(file: Path, providers: Sequence[Any], threads: int) -> Run:
    """What computes an ONNX file by the first of these providers."""
    library = _library()
    options = library.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait by turning take the CPU from the other replicas of a node.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    wanted = [item[0] if isinstance(item, tuple) else item for item in providers]
    lacking = [name for name in wanted if name not in library.get_available_providers()]
    if lacking:
        raise EngineError(
            f"this ONNX Runtime has no {', '.join(lacking)}: for a GPU install onnxruntime-gpu in "
            "place of onnxruntime"
        )
    session = library.InferenceSession(str(file), options, providers=list(providers))
    names = [item.name for item in session.get_inputs()]

    def run(tensors: Sequence[Tensor]) -> list[Tensor]:
        arrays = {name: tensor.cpu().numpy() for name, tensor in zip(names, tensors, strict=True)}
        outputs = session.run(None, arrays)
        return [torch.from_numpy(array).to(tensors[0].device) for array in outputs]

    return run


def write_onnx(graph: Graph, file: Path, half: bool = False) -> None:
    """Write the graph as ONNX; half: its arithmetic in fp16 where that is safe."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise missing("onnx or onnxscript", _EXTRA) from error
    program = torch.onnx.export(
        graph.exported(torch.float16 if half else None), dynamo=True, verbose=False
    )
    if program is None:
        raise EngineError("torch cannot write the model as ONNX")
    program.save(file)


def _quantise(plain: Path, target: Path, graph: Graph) -> None:
    """Static quantisation, a scale a channel, of what the runtime has 8-bit kernels for."""
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    if not graph.calibration:
        raise EngineError("int8 needs rows to calibrate with: python -m aiplat.jobs.optimize")
    prepared = plain.with_name("plain-prepared.onnx")
    # Symbolic shapes need one library more and gain nothing here.
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    quantization.quantize_static(
        str(prepared),
        str(target),
        _Rows(prepared, graph),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        op_types_to_quantize=["Conv", "Gemm", "MatMul", "Add", "GlobalAveragePool", "MaxPool"],
        calibration_providers=["CPUExecutionProvider"],
    )


class _Rows:
    """Calibration rows, in the way the quantiser asks for them."""

    def __init__(self, file: Path, graph: Graph) -> None:
        session = _library().InferenceSession(str(file), providers=["CPUExecutionProvider"])
        names = [item.name for item in session.get_inputs()]
        self.rows: Iterator[dict[str, Any]] = (
            {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
            for tensors in graph.calibration
        )

    def get_next(self) -> dict[str, Any] | None:
        """The next batch; None where there is none left."""
        return next(self.rows, None)


def _library() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise missing("ONNX Runtime", _EXTRA) from error
    return onnxruntime


ENGINE = OnnxRuntime()
