"""What an engine is: it makes files of a model's graph, and of such files what computes it.

It knows no task and no registry: what it is handed is a graph of tensors to tensors.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from torch import Tensor

from aiplat.errors import AiplatError, ConfigError
from aiplat.inference.config import ENGINES
from aiplat.inference.engines.graph import Graph

# The outputs of a graph for its inputs, in order; called by one thread at a time.
Run = Callable[[Sequence[Tensor]], list[Tensor]]


# Of torch as it is, on any device.
_EAGER = ("fp32", "bf16", "fp16")


class EngineError(AiplatError):
    """An engine cannot compute a model: its library is missing, or does not know an operation."""


@dataclass(frozen=True)
class Given:
    """What an engine computes with. device: `cpu` or `cuda`; threads: of its arithmetic."""

    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 1


class Engine(Protocol):
    """One library that computes graphs."""

    @property
    def precisions(self) -> Mapping[str, tuple[str, ...]]:
        """Those it has, by device; a device that is not there it cannot use."""
        ...

    def version(self) -> str:
        """Of the library. Raises EngineError that names the extra where it is not installed."""
        ...

    def compile(self, graph: Graph, target: Path, given: Given) -> None:
        """Make files of the graph in the folder `target`, which is there and empty."""
        ...

    def load(self, folder: Path, given: Given) -> Run:
        """What computes the graph, from the files in `folder`."""
        ...


def engine_of(name: str) -> Engine:
    """The engine of that name; its library is imported when it is used."""
    if name not in ENGINES or name in ("auto", "eager"):
        raise ConfigError(f"engine is {name!r}, expected one of {', '.join(ENGINES)}")
    module = importlib.import_module(f"aiplat.inference.engines.{name}")
    return cast(Engine, module.ENGINE)


def check_precision(name: str, given: Given) -> None:
    """Raise EngineError where the engine has no such precision on the device."""
    has = _EAGER if name == "eager" else engine_of(name).precisions.get(given.device, ())
    if given.precision not in has:
        raise EngineError(
            f"engine {name} has no {given.precision} on {given.device} "
            f"(it has: {', '.join(has) or 'nothing there'})"
        )


def missing(library: str, extra: str) -> EngineError:
    """The error for a library that is not installed."""
    return EngineError(f"{library} is not installed: pip install 'aiplat[{extra}]'")
