"""Take a release through its steps, and stop it as soon as harm is certain."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from aiplat.errors import RecordsError
from aiplat.serving.releases.evidence import Evidence, Step, all_of
from aiplat.serving.releases.judge import Finding, Limits, judge
from aiplat.serving.releases.release import (
    BEAT_S,
    LOOK_S,
    ROLLED_BACK,
    STOPPED,
    SUCCEEDED,
    Release,
)
from aiplat.serving.releases.store import ReleaseStore

# A database that is away for longer leaves nothing to judge by.
_AWAY_S = 60.0


@dataclass(frozen=True)
class Plan:
    """steps: shares of the askers, 0 to 1, rising. mirror: share of requests to compare.

    A step ends after `step_s`, once `min_requests` were for the candidate to answer, or compared
    where it answers nobody, and no harm is suspected. Where that is not so within `timeout_s`, the
    release is stopped.
    """

    steps: Sequence[float] = (0.01, 0.1, 0.5, 1.0)
    mirror: float = 0.1
    min_requests: int = 200
    step_s: float = 60.0
    timeout_s: float = 3600.0


@dataclass(frozen=True)
class Outcome:
    """How a release ended. findings: what was known by then."""

    state: str
    reason: str
    findings: Sequence[Finding] = field(default_factory=list)


@dataclass
class Rollout:
    """One release on its way. told: the step that runs and what is found, at every look.

    disturbed: says why the release cannot go on, where something else happened to the endpoint.
    clock: seconds since 1970.
    """

    store: ReleaseStore
    release: Release
    plan: Plan
    limits: Limits
    told: Callable[[Step, Sequence[Finding]], None] = lambda _, __: None
    disturbed: Callable[[], str | None] = lambda: None
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.evidence = Evidence(self.store, self.release)
        self._answered_at = self.clock()

    def run(self) -> Outcome:
        """Go through the steps. Raises RecordsError where the database stays away."""
        for weight in self.plan.steps:
            if not self.store.divide(self.release.id, weight, self.plan.mirror):
                return self._ended_elsewhere()
            step = self.evidence.begin_step(weight, self.plan.mirror, self.clock())
            outcome = self._watch(step)
            if outcome is not None:
                return outcome
        return Outcome(SUCCEEDED, passed(self.findings), self.findings)

    @property
    def findings(self) -> list[Finding]:
        """What is known by now."""
        return judge(all_of(self.evidence.steps), self.limits) if self.evidence.steps else []

    def _watch(self, step: Step) -> Outcome | None:
        """The end of the release, where it comes within the step."""
        while True:
            self.sleep(LOOK_S)
            self._look()
            findings = self.findings
            self.told(step, findings)
            if harm := [found for found in findings if found.is_harm]:
                return Outcome(ROLLED_BACK, "; ".join(map(str, harm)), findings)
            if reason := self.disturbed():
                return Outcome(STOPPED, reason, findings)
            waited_s = self.clock() - step.began_at
            has_seen_enough = waited_s >= self.plan.step_s and self._has_seen_enough(step)
            suspected = [found for found in findings if found.is_suspected]
            if has_seen_enough and not suspected:
                return None
            if waited_s >= self.plan.timeout_s:
                reason = _unclear(suspected) if has_seen_enough else self._too_few(step)
                return Outcome(STOPPED, reason, findings)

    def _has_seen_enough(self, step: Step) -> bool:
        # Where no key falls into a small share, a larger one tells no less than to begin with it.
        asked = step.champion.requests if step.is_of_nobody else step.seen
        return asked >= self.plan.min_requests

    def _look(self) -> None:
        try:
            self.evidence.look()
        except RecordsError:
            # Endpoints, too, cannot hear of us: they ask the champion until it is back.
            if self.clock() - self._answered_at > _AWAY_S:
                raise
        else:
            self._answered_at = self.clock()

    def _too_few(self, step: Step) -> str:
        asked = "compared" if not step.weight else "that the candidate was to answer"
        told = (
            f"too little traffic: {step.seen} requests {asked} within {self.plan.timeout_s:g} s "
            f"(timeout_s), min_requests={self.plan.min_requests} are needed at this step"
        )
        if step.weight and self.release.sticky == "key":
            told += (
                f". {len(step.keys)} keys asked, and each keeps to one version; sticky=none "
                "divides the requests of each"
            )
        return told

    def _ended_elsewhere(self) -> Outcome:
        ended = self.store.find(self.release.id)
        return Outcome(ended.state, ended.reason, self.findings)


def _unclear(suspected: Sequence[Finding]) -> str:
    told = "; ".join(map(str, suspected))
    return f"it is still unclear after timeout_s whether the candidate does harm: {told}"


def passed(findings: Sequence[Finding]) -> str:
    """The verdict on a candidate that was not stopped."""
    open_ones = [found.name for found in findings if not found.is_fine]
    if not open_ones:
        return "the candidate is no worse than is allowed, as far as was looked, with certainty"
    return f"no harm was found; too few requests to rule it out for {', '.join(open_ones)}"


class Heartbeat:
    """Says that a release is watched while the block runs, from a thread: whatever else waits."""

    def __init__(self, store: ReleaseStore, release: Release) -> None:
        self._store, self._release = store, release
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            try:
                self._store.beat(self._release.id)
            except RecordsError:
                # It may come back; the release counts for nothing meanwhile.
                continue
