"""How long a run needed to go on after a kill, told from the events in its log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from aiplat.training.drill.plan import Kill

PHASES = ("detect", "reschedule", "restore", "first_step")
_TELLS_OF_LOSS = ("failure", "note")


@dataclass(frozen=True)
class Strike:
    """A kill as it was carried out.

    at: by the clock of this machine. step, epoch, num_workers: of the run just before. back_at:
    when the driver was started again, where it was the one that died. damaged: the checkpoint that
    was.
    """

    kill: Kill
    at: float
    step: int
    epoch: int
    num_workers: int
    back_at: float | None = None
    damaged: str | None = None


@dataclass(frozen=True)
class Recovery:
    """The seconds of each phase from a kill to the first step after it.

    detect: until the run (or, for the driver, whoever started it) knew. reschedule: until the
    processes of all new workers ran. restore: until they stood at the checkpoint. first_step: until
    one more step was done. step: where they went on. cause: what the run said of it.
    """

    strike: Strike
    detect: float
    reschedule: float
    restore: float
    first_step: float
    step: int
    num_workers: int
    cause: str | None

    @property
    def total(self) -> float:
        """Seconds from the kill to the first step after it."""
        return self.detect + self.reschedule + self.restore + self.first_step


def recoveries(
    strikes: Sequence[Strike], events: Sequence[Mapping[str, Any]]
) -> list[Recovery | None]:
    """What followed each strike; None where the run was not seen to go on.

    events: of the run, in the order of time.
    """
    ends = [strike.at for strike in strikes[1:]] + [float("inf")]
    return [
        _recovery(strike, [event for event in events if strike.at < event["at"] <= end])
        for strike, end in zip(strikes, ends, strict=True)
    ]


def percentiles(found: Iterable[Recovery], phase: str) -> tuple[float, float]:
    """The median and the 95th percentile of a phase, or of the `total`."""
    seconds = [float(getattr(recovery, phase)) for recovery in found]
    median, most = np.percentile(seconds, [50, 95])
    return float(median), float(most)


def _recovery(strike: Strike, events: Sequence[Mapping[str, Any]]) -> Recovery | None:
    start = _first(events, "start", strike.back_at or strike.at)
    if start is None:
        return None
    step = _first(events, "step", start["at"])
    if step is None:
        return None
    # A first try at starting again may have failed; then a later start led to the step.
    start = [event for event in events if event["kind"] == "start" and event["at"] <= step["at"]][
        -1
    ]
    before = [event for event in events if event["at"] <= start["at"]]
    told = next((event for event in before if event["kind"] in _TELLS_OF_LOSS), None)
    known_at = strike.back_at or (told or start)["at"]
    if told is None and strike.kill.kind == "preemption":
        # It was known before.
        known_at = strike.at
    started = [event["at"] for event in before if event["kind"] == "started"]
    started_at = max((at for at in started if at >= known_at), default=start["at"])
    return Recovery(
        strike=strike,
        detect=known_at - strike.at,
        reschedule=started_at - known_at,
        restore=start["at"] - started_at,
        first_step=step["at"] - start["at"],
        step=start["step"],
        num_workers=start["world_size"],
        cause=told.get("text") if told else None,
    )


def _first(
    events: Sequence[Mapping[str, Any]], kind: str, after: float
) -> Mapping[str, Any] | None:
    return next((event for event in events if event["kind"] == kind and event["at"] >= after), None)
