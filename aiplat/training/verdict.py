"""Whether a run is started again after a failure; pure, so that every case is a line of a test."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aiplat.training.faults import Fault

# What another attempt would meet again.
_FINAL = ("oom", "nan", "code", "data", "disk")


@dataclass(frozen=True)
class Failure:
    """How an attempt ended. reached: the last step that any attempt completed until then."""

    fault: Fault
    reached: int
    is_counted: bool = False


@dataclass(frozen=True)
class Verdict:
    """What to do. is_counted: the restart uses up one of `scale.max_failures`."""

    restarts: bool
    reason: str
    is_counted: bool = False


def verdict(fault: Fault, reached: int, history: Sequence[Failure], max_failures: int) -> Verdict:
    """Start again, or give up, after `fault` and the failures before it.

    What the run's folder already answers is tried again at once. What the cluster did to the run
    is not held against it as long as it gains steps in between; without, it counts as anything
    else, so that no run restarts for ever.
    """
    if fault.is_answered:
        return Verdict(True, "with what was learned from it")
    if fault.cause in _FINAL:
        return Verdict(False, "another attempt would meet it again")
    if history and _is_same(fault, history[-1].fault):
        return Verdict(False, "the same happened at the same step twice")
    gained = not history or reached > history[-1].reached
    if fault.is_blameless and gained:
        return Verdict(True, "not counted, for it is the cluster's doing")
    used = sum(failure.is_counted for failure in history)
    if used >= max_failures:
        return Verdict(False, f"that was more often than scale.max_failures={max_failures} allows")
    return Verdict(True, f"restart {used + 1} of {max_failures}", is_counted=True)


def _is_same(fault: Fault, other: Fault) -> bool:
    """Whether the training code met the same again; a process that died says nothing of it."""
    tells = bool(fault.error) or fault.cause == "stall"
    return (
        tells
        and (fault.cause, fault.error, fault.step) == (other.cause, other.error, other.step)
        and _without_numbers(fault.text) == _without_numbers(other.text)
    )


def _without_numbers(text: str) -> str:
    """Ports, addresses and times differ where nothing else does."""
    return re.sub(r"\d+", "0", text)
