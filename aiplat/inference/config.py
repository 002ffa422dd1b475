"""Where and in what arithmetic a model answers."""

from dataclasses import dataclass

from aiplat.errors import ConfigError

ENGINES = ("auto", "eager", "compile", "openvino", "onnxruntime", "iree", "tvm", "tensorrt")
PRECISIONS = ("auto", "fp32", "bf16", "fp16", "int8")


@dataclass
class InferenceConfig:
    """How a model version is run over many rows.

    device: `auto` is the GPU where there is one; else `cpu`, `cuda` or `cuda:1`.
    engine: what computes the model; `auto`: what `optimize` chose for this hardware and number of
        threads, where it did, else `eager`, which is torch as it is. One that is named is compiled
        where that was not done before: `compile`, `openvino`, `onnxruntime`, `iree`, `tvm` or
        `tensorrt`.
    precision: `auto` is that of the choice, else fp32, which answers as the model was evaluated;
        `bf16`, `fp16` and `int8` are quicker on some devices, and not every engine has them.
    threads: of the model's arithmetic in each process; null: as many as the process was given CPUs.
    batch_size: rows of one pass through the model.
    """

    device: str = "auto"
    engine: str = "auto"
    precision: str = "auto"
    threads: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_engine(self.engine, self.precision)
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}, expected at least 1, or null")


def check_engine(engine: str, precision: str) -> None:
    """Raise ConfigError where there is no such engine or precision."""
    if engine not in ENGINES:
        raise ConfigError(f"engine is {engine!r}, expected one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise ConfigError(f"precision is {precision!r}, expected one of {', '.join(PRECISIONS)}")


@dataclass
class SloConfig:
    """What an endpoint promises.

    p99_ms: what 99 of 100 passes through the model may take at most; null: any time.
    """

    p99_ms: float | None = None

    def __post_init__(self) -> None:
        if self.p99_ms is not None and self.p99_ms <= 0:
            raise ConfigError(f"slo.p99_ms is {self.p99_ms}, expected more than 0, or null")


@dataclass
class ParityConfig:
    """How far an engine's answers may be from those of torch in fp32, to be chosen.

    fp32, bf16, fp16, int8: the greatest difference of any number in an answer, by precision.
    metric: by how much the task's primary metric may be worse.
    split: of the dataset version that the model was trained on.
    rows: of that split, that are compared.
    """

    fp32: float = 0.001
    bf16: float = 0.05
    fp16: float = 0.05
    int8: float = 0.1
    metric: float = 0.01
    split: str = "val"
    rows: int = 256

    def __post_init__(self) -> None:
        if self.rows < 1:
            raise ConfigError(f"parity.rows is {self.rows}, expected at least 1")

    def difference(self, precision: str) -> float:
        """The greatest that is let pass."""
        return {"fp32": self.fp32, "bf16": self.bf16, "fp16": self.fp16, "int8": self.int8}[
            precision
        ]
