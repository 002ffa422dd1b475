"""The arithmetic of a step: fp32, or half-width forward passes over fp32 weights."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass
class Precision:
    """What to compute a forward pass in, and how to keep its gradients from vanishing.

    dtype: None for fp32. scaler: only fp16 needs one.
    """

    name: str
    device_type: str
    dtype: torch.dtype | None = None
    scaler: GradScaler | None = None

    def autocast(self) -> AbstractContextManager[None]:
        """The context of a forward pass and its loss."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.device_type, dtype=self.dtype)

    def scaled(self, loss: Tensor) -> Tensor:
        """What to call `backward` on."""
        return loss if self.scaler is None else self.scaler.scale(loss)

    def unscale(self, optimizer: Optimizer) -> None:
        """Bring the gradients to their true size, for those who look at them before the step."""
        if self.scaler is not None:
            self.scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> bool:
        """Update the weights; False where fp16 gradients overflowed and the update was left out."""
        if self.scaler is None:
            optimizer.step()
            return True
        before = self.scaler.get_scale()
        self.scaler.step(optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before


def choose_precision(name: str, device: torch.device) -> Precision:
    """The precision of that name on a device; `auto` is bf16 where the device is quick at it."""
    if name == "auto":
        name = "bf16" if _is_quick_at_bf16(device) else "fp32"
    scaler = GradScaler(device.type) if name == "fp16" else None
    return Precision(name, device.type, _DTYPES.get(name), scaler)


def _is_quick_at_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":
        # Older torch cannot tell; fp32 is never wrong.
        capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
