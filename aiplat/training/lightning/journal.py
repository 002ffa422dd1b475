"""What a module hands to `self.log`: values of a step, means over an epoch, metrics to compute."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from aiplat.errors import ConfigError
from aiplat.training.collective import gather_objects, gather_tensors

# The arguments of `LightningModule.log` after name and value, as they may be given by position.
_OPTIONS = ("prog_bar", "logger", "on_step", "on_epoch", "reduce_fx")


class Journal:
    """Stands in for a module's `log`.

    weight: the rows that what is logged now stands for. is_step: whether a training step logs,
    whose values are of that step unless it says otherwise; all else is of an epoch.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.weight = 1
        self.is_step = False
        self.of_step: dict[str, Tensor] = {}
        self.sums: dict[str, tuple[Tensor, float]] = {}
        self.metrics: dict[str, Metric] = {}
        for metric in module.modules():
            if isinstance(metric, Metric):
                # torchmetrics' own gathering stalls on ranks without rows.
                metric.dist_sync_fn = gather_tensors

    def log(self, name: str, value: Any, *options: Any, **named: Any) -> None:
        """See `LightningModule.log`. Values are averaged over rows, whatever `sync_dist` says."""
        given = {**dict(zip(_OPTIONS, options, strict=False)), **named}
        if given.get("logger") is False:
            return
        on_step, on_epoch = self._when(given)
        if on_epoch and given.get("reduce_fx", "mean") not in ("mean", torch.mean):
            raise ConfigError(
                f"self.log({name!r}, reduce_fx={given['reduce_fx']!r}): over an epoch values are "
                "averaged; log a torchmetrics metric for anything else"
            )
        if on_step:
            self._log_step(f"{name}_step" if on_epoch else name, value)
        # A metric must be reset some time, and its end of the epoch is what it is kept for.
        if on_epoch or isinstance(value, Metric):
            weight = given.get("batch_size") or self.weight
            self._log_epoch(f"{name}_epoch" if on_step else name, value, weight)

    def take_step(self) -> dict[str, Tensor]:
        """What was logged of the step since the last time."""
        taken, self.of_step = self.of_step, {}
        return taken

    def take_epoch(self) -> dict[str, float]:
        """What was logged over the epoch or split since the last time; every rank calls it."""
        mine = {name: (float(total), weight) for name, (total, weight) in self.sums.items()}
        of_ranks = gather_objects((mine, self._places()))
        self.sums, self.metrics = {}, {}
        means: dict[str, float] = {}
        for name in sorted({name for sums, _ in of_ranks for name in sums}):
            parts = [sums[name] for sums, _ in of_ranks if name in sums]
            means[name] = sum(total for total, _ in parts) / sum(weight for _, weight in parts)
        places = {name: place for _, found in of_ranks for name, place in found.items()}
        return means | {name: self._computed(places[name]) for name in sorted(places)}

    def set_aside(self) -> dict[str, Any]:
        """Begin a page of its own, for what is logged while a split is measured."""
        kept = {"sums": self.sums, "metrics": self.metrics}
        self.sums, self.metrics = {}, {}
        return kept

    def take_back(self, kept: dict[str, Any]) -> None:
        """Go on with the page that was set aside."""
        self.sums, self.metrics = kept["sums"], kept["metrics"]

    def _when(self, given: dict[str, Any]) -> tuple[bool, bool]:
        """On step, on epoch: as given, else as Lightning does it where this is logged."""
        if not self.is_step:
            return False, True
        return given.get("on_step") is not False, bool(given.get("on_epoch"))

    def _log_step(self, name: str, value: Any) -> None:
        if isinstance(value, Metric):
            # What the metric's own call answered for these rows; none where it was only updated.
            value = value._forward_cache
            if value is None:
                return
        self.of_step[name] = self._tensor(name, value)

    def _log_epoch(self, name: str, value: Any, weight: float) -> None:
        if isinstance(value, Metric):
            self.metrics[name] = value
            return
        total, before = self.sums.get(name, (torch.zeros(()), 0.0))
        tensor = self._tensor(name, value)
        self.sums[name] = (total.to(tensor.device) + tensor * weight, before + weight)

    def _tensor(self, name: str, value: Any) -> Tensor:
        tensor = torch.as_tensor(value, device=getattr(self.module, "device", None)).detach()
        if tensor.numel() != 1:
            shape = tuple(tensor.shape)
            raise ConfigError(f"self.log({name!r}, ...): expected one number, got shape {shape}")
        return tensor.float().reshape(())

    def _places(self) -> dict[str, str]:
        """Where in the module the logged metrics are, by the name they were logged by."""
        paths = {id(part): path for path, part in self.module.named_modules()}
        for name, metric in self.metrics.items():
            if id(metric) not in paths:
                raise ConfigError(
                    f"self.log({name!r}, ...): keep the metric as an attribute of the module"
                )
        return {name: paths[id(metric)] for name, metric in self.metrics.items()}

    def _computed(self, place: str) -> float:
        metric = self.module.get_submodule(place)
        with warnings.catch_warnings():
            # The metric cannot know that only the other ranks had rows.
            warnings.filterwarnings("ignore", message=".*before the ``update`` method")
            value = float(metric.compute())  # type: ignore[operator]
        metric.reset()  # type: ignore[operator]
        return value
