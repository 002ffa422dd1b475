"""A copy of what is trained in host memory, made at one step and read while the next ones run."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

_Key = tuple[Any, ...]


class HostCopy:
    """Copies nested values; the memory of the tensors is used again by the next copy.

    Whoever reads a copy calls `wait` first and is done before the next one is taken.
    """

    def __init__(self) -> None:
        self.buffers: dict[_Key, Tensor] = {}
        self.taken: dict[_Key, Tensor] = {}
        self.copied: torch.cuda.Event | None = None

    def take(self, weights: Mapping[str, Tensor], state: Any) -> tuple[dict[str, Tensor], Any]:
        """Copies of both as they are now. The weights lie as a safetensors file takes them."""
        self.buffers, self.taken = self.taken, {}
        values = (
            {
                name: self._tensor(("weights", name), value, torch.contiguous_format)
                for name, value in weights.items()
            },
            self._value(("state",), state),
        )
        self.buffers = {}
        if any(value.is_pinned() for value in self.taken.values()):
            # The device copies in the order of its work, so that training need not wait for it.
            self.copied = torch.cuda.Event()
            self.copied.record()
        return values

    def wait(self) -> None:
        """Return when what was taken last can be read; any thread may call it."""
        if self.copied is not None:
            self.copied.synchronize()

    def _value(self, key: _Key, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(key, value, torch.preserve_format)
        if isinstance(value, dict):
            return {name: self._value((*key, name), item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self._value((*key, i), item) for i, item in enumerate(value))
        return copy.deepcopy(value)

    def _tensor(self, key: _Key, value: Tensor, layout: torch.memory_format) -> Tensor:
        value = value.detach()
        buffer = self.buffers.get(key)
        if buffer is None or (buffer.shape, buffer.dtype) != (value.shape, value.dtype):
            buffer = torch.empty_like(
                value, device="cpu", memory_format=layout, pin_memory=value.is_cuda
            )
        self.taken[key] = buffer.copy_(value, non_blocking=True)
        return buffer
