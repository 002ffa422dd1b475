"""What a module's `configure_optimizers` answers, as one optimizer and one schedule of ours."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch.optim import LBFGS, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from aiplat.errors import ConfigError

_INTERVALS = ("step", "epoch")


@dataclass
class ModuleSchedule:
    """A module's learning rate schedule: told of every step and epoch, moves when it is due.

    monitor: the metric that a schedule by plateaus looks at. num_told: since the run began.
    """

    scheduler: Any
    interval: str = "epoch"
    frequency: int = 1
    monitor: str | None = None
    num_told: int = 0

    def step(self) -> None:
        """An optimizer step was done."""
        if self.interval == "step" and self._is_due():
            self.scheduler.step()

    def end_epoch(self, metrics: Mapping[str, float], is_measured: bool) -> None:
        """An epoch was done. Raises ConfigError where the monitored metric is not among them."""
        if self.interval != "epoch" or not self._is_due():
            return
        if self.monitor is None:
            self.scheduler.step()
        elif self.monitor in metrics:
            self.scheduler.step(metrics[self.monitor])
        elif is_measured:
            raise ConfigError(
                f"configure_optimizers: the schedule monitors {self.monitor!r}, which is none of "
                f"the epoch's metrics: {', '.join(sorted(metrics)) or 'none'}"
            )

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` takes."""
        return {"num_told": self.num_told, "scheduler": self.scheduler.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue a schedule."""
        self.num_told = state["num_told"]
        self.scheduler.load_state_dict(state["scheduler"])

    def _is_due(self) -> bool:
        self.num_told += 1
        return self.num_told % self.frequency == 0


def parse_optimizers(answer: Any) -> tuple[Optimizer, ModuleSchedule | None]:
    """Every form that Lightning takes, as far as it holds one optimizer. Raises ConfigError."""
    optimizers, schedulers, monitor = _parts(answer)
    for what, found in (("optimizer", optimizers), ("learning rate schedule", schedulers)):
        if len(found) > 1:
            raise _fault(f"it makes {len(found)} {what}s, the loop steps one")
    if not optimizers or not isinstance(optimizers[0], Optimizer):
        raise _fault(f"expected a torch optimizer, got {type(answer).__name__}")
    if isinstance(optimizers[0], LBFGS):
        raise _fault("LBFGS evaluates the loss several times a step, which the loop does not")
    return optimizers[0], _schedule(schedulers[0], monitor) if schedulers else None


def _parts(answer: Any) -> tuple[Sequence[Any], Sequence[Any], str | None]:
    """Optimizers, schedules, and the metric that goes with them."""
    if isinstance(answer, Mapping):
        schedule = answer.get("lr_scheduler")
        schedules = [] if schedule is None else [schedule]
        return [answer.get("optimizer")], schedules, answer.get("monitor")
    if isinstance(answer, list | tuple):
        if len(answer) == 2 and isinstance(answer[0], list):
            schedules = answer[1] if isinstance(answer[1], list) else [answer[1]]
            return answer[0], schedules, None
        if len(answer) == 1 and isinstance(answer[0], Mapping):
            return _parts(answer[0])
        return answer, [], None
    return [answer], [], None


def _schedule(given: Any, monitor: str | None) -> ModuleSchedule:
    options = dict(given) if isinstance(given, Mapping) else {"scheduler": given}
    scheduler = options.get("scheduler")
    if not all(hasattr(scheduler, name) for name in ("step", "state_dict", "load_state_dict")):
        raise _fault(f"expected a torch learning rate schedule, got {type(scheduler).__name__}")
    is_plateau = options.get("reduce_on_plateau", isinstance(scheduler, ReduceLROnPlateau))
    schedule = ModuleSchedule(
        scheduler=scheduler,
        interval=options.get("interval", "epoch"),
        frequency=options.get("frequency", 1),
        monitor=options.get("monitor", monitor) if is_plateau else None,
    )
    if schedule.interval not in _INTERVALS:
        raise _fault(f"the schedule's interval is {schedule.interval!r}, expected step or epoch")
    if schedule.frequency < 1:
        raise _fault(f"the schedule's frequency is {schedule.frequency}, expected at least 1")
    if is_plateau and (schedule.monitor is None or schedule.interval == "step"):
        raise _fault("a schedule by plateaus takes a monitor and moves by epochs")
    return schedule


def _fault(what: str) -> ConfigError:
    return ConfigError(
        f"model: configure_optimizers: {what}; let it return one optimizer, or "
        "{'optimizer': ..., 'lr_scheduler': {'scheduler': ..., 'interval': 'step'}}"
    )
