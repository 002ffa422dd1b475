"""One way a task calls its model, as a graph of tensors to tensors whose sizes may vary."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

Tensors = tuple[Tensor, ...]


@dataclass(frozen=True)
class Graph:
    """A model called with some of its arguments.

    names: of the arguments given, in the order of `forward`. examples: tensors for them, of which
    at least two differ in every size that may vary. calibration: of real rows.
    """

    model: nn.Module
    names: tuple[str, ...]
    examples: Sequence[Tensors]
    calibration: Sequence[Tensors] = field(default_factory=tuple)

    @cached_property
    def largest(self) -> Tensors:
        """The example of most elements: no size of it is 1, which a trace takes for a constant."""
        return max(self.examples, key=lambda tensors: sum(tensor.numel() for tensor in tensors))

    @cached_property
    def sizes(self) -> list[tuple[int, ...]]:
        """The sizes of each input; -1 where they vary."""
        return [
            tuple(
                size if len({example[place].shape[dim] for example in self.examples}) == 1 else -1
                for dim, size in enumerate(tensor.shape)
            )
            for place, tensor in enumerate(self.largest)
        ]

    @cached_property
    def is_tuple(self) -> bool:
        """Whether the model returns several tensors."""
        return not isinstance(self._outcome, Tensor)

    @cached_property
    def outputs(self) -> tuple[bool, ...]:
        """For each thing the model returns, whether it is a tensor; else it is None."""
        found = self._outcome if self.is_tuple else (self._outcome,)
        return tuple(isinstance(output, Tensor) for output in found)

    @cached_property
    def _outcome(self) -> Any:
        with torch.inference_mode():
            outcome = self.model(**dict(zip(self.names, self.largest, strict=True)))
        parts = (outcome,) if isinstance(outcome, Tensor) else outcome
        if not (
            isinstance(parts, tuple)
            and all(part is None or isinstance(part, Tensor) for part in parts)
        ):
            raise TypeError(
                f"{type(self.model).__name__} returns {type(outcome).__name__}; engines compute "
                "models that return a tensor, or a tuple of tensors and None"
            )
        return outcome

    def exported(self, dtype: torch.dtype | None = None) -> ExportedProgram:
        """The graph as torch has it: inputs in the order of `names`, outputs that are tensors.

        dtype: what autocast computes in; None: without it.
        """
        with torch.no_grad():
            return torch.export.export(
                _Positional(self, dtype), self.largest, dynamic_shapes={"tensors": self._dynamic()}
            )

    def _dynamic(self) -> tuple[dict[int, Dim], ...]:
        """Which sizes vary. Those that were alike in all examples are one and the same."""
        dims: dict[tuple[int, ...], Dim] = {}
        return tuple(
            {
                dim: self._dim(dims, place, dim)
                for dim, size in enumerate(self.sizes[place])
                if size == -1
            }
            for place in range(len(self.names))
        )

    def _dim(self, dims: dict[tuple[int, ...], Dim], place: int, dim: int) -> Dim:
        seen = tuple(example[place].shape[dim] for example in self.examples)
        # Rows have no limit; of a text the longest example is as long as the model takes.
        limit = {} if dim == 0 else {"max": max(seen)}
        return dims.setdefault(seen, Dim(f"size_{len(dims)}", min=1, **limit))


class _Positional(nn.Module):
    """The model of a graph with its arguments by position, and no output that is None."""

    def __init__(self, graph: Graph, dtype: torch.dtype | None) -> None:
        super().__init__()
        self.model = graph.model
        self.names = graph.names
        self.dtype = dtype

    def forward(self, *tensors: Tensor) -> Tensors:
        given = dict(zip(self.names, tensors, strict=True))
        # In here, for what is around an export does not become part of it.
        with torch.autocast(tensors[0].device.type, self.dtype) if self.dtype else nullcontext():
            outcome = self.model(**given)
        parts = (outcome,) if isinstance(outcome, Tensor) else outcome
        return tuple(part for part in parts if part is not None)
