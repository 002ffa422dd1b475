"""Updates that would make the weights NaN are not applied: what `loop.on_nan: skip` means.

Ranks need not agree: the gradient was averaged over them, so that one rank's NaN is everyone's.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer


@torch.no_grad()
def gradient_norm(model: nn.Module) -> Tensor:
    """The norm of all gradients together, on their device; nothing waits for it."""
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    norm = get_total_norm(gradients)
    # Of a model whose parameters are sharded it is a part.
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


class Guard:
    """Leaves weights and running statistics as they were before a step that is not finite.

    Fused optimizers look at the norm on the device. For any other one the device has to finish
    the step's work first, which on a GPU costs the time of queueing a step.
    """

    def __init__(self, model: nn.Module, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.is_fused = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self.buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.before = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def remember(self) -> None:
        """Call before a step's forward passes: they change the running statistics."""
        if self.buffers:
            torch._foreach_copy_(self.before, self.buffers)

    @torch.no_grad()
    def permits(self, norm: Tensor) -> bool:
        """Whether to call the optimizer, which may still leave the weights as they are."""
        finite = torch.isfinite(norm)
        if not (self.is_fused and norm.is_cuda):
            if finite:
                return True
            self._restore()
            return False
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(torch.where(finite, buffer, before))
        # What torch's own scaler for fp16 tells them by.
        self.optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimizer.grad_scale = None  # type: ignore[attr-defined]
        return True

    def _restore(self) -> None:
        for buffer, before in zip(self.buffers, self.before, strict=True):
            buffer.copy_(before)
