"""Where and in what arithmetic a model answers."""

from dataclasses import dataclass

from aiplat.errors import ConfigError

PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass
class InferenceConfig:
    """How a model version is run over many rows.

    device: `auto` is the GPU where there is one; else `cpu`, `cuda` or `cuda:1`.
    precision: fp32 answers as it was evaluated; bf16 and fp16 are quicker on some devices.
    threads: of the model's arithmetic in each process; null: as many as the process was given CPUs.
    batch_size: rows of one pass through the model.
    """

    device: str = "auto"
    precision: str = "fp32"
    threads: int | None = None
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"precision is {self.precision!r}, expected one of {', '.join(PRECISIONS)}"
            )
        if self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}, expected at least 1")
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads is {self.threads}, expected at least 1, or null")
