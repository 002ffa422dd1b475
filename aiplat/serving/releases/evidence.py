"""What requests have said of the two versions of a release so far, step by step."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.release import Release
from aiplat.serving.releases.store import Answered, ReleaseStore

_REFUSED, _CLIENT_LEFT, _FAILED = 400, 499, 500
# A record may come to the database so long after its answer and still be counted.
_LATE_S = 30.0


@dataclass
class Side:
    """One version. times: seconds of requests it answered, or whose client would not wait."""

    requests: int = 0
    failures: int = 0
    times: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def quantile_s(self, share: float) -> float:
        """What so many of its requests take at most; NaN without any."""
        return float(np.quantile(self.times, share)) if self.times else float("nan")


@dataclass
class Step:
    """A step, or all of them. weight, mirror: the shares it had.

    to_answer: requests of users that the candidate was to answer, whether it did or not; compared:
    requests that both answered; disagreement: the sum of their shares of rows that the
    answers disagree on; difference: the largest one of any number. together: times of the
    candidate and of the champion for the same requests. keys: who asked.
    """

    weight: float = 0.0
    mirror: float = 0.0
    began_at: float = 0.0
    champion: Side = field(default_factory=Side)
    candidate: Side = field(default_factory=Side)
    to_answer: int = 0
    compared: int = 0
    disagreement: float = 0.0
    difference: float = 0.0
    together: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    keys: set[str] = field(default_factory=set)

    @property
    def seen(self) -> int:
        """Requests that the step is for: those the candidate was to answer, or be compared in."""
        return self.to_answer if self.weight else self.compared

    @property
    def is_of_nobody(self) -> bool:
        """Whether there is a share for the candidate and none of those who ask is in it."""
        return self.weight > 0 and self.to_answer == 0

    def add_answer(self, answered: Answered, release: Release) -> None:
        """Count a request by the version that was asked."""
        is_candidate = answered.version == release.candidate
        side = self.candidate if is_candidate else self.champion
        self.to_answer += is_candidate
        self.keys.add(answered.key)
        if answered.status < _REFUSED or answered.status >= _CLIENT_LEFT:
            side.requests += 1
        if answered.status >= _FAILED:
            side.failures += 1
            side.errors[f"status {answered.status}"] += 1
        elif answered.status < _REFUSED or answered.status == _CLIENT_LEFT:
            side.times.append(answered.seconds)

    def add_comparison(self, found: Comparison, release: Release) -> None:
        """Count a request that both were asked with."""
        if found.answered_by == release.champion:
            # Nobody's answer came of it, and still it was one to give.
            self.candidate.requests += 1
        self.to_answer += not found.mirrored
        if found.error:
            self.candidate.failures += 1
            self.candidate.errors[found.error] += 1
            return
        self.compared += 1
        self.disagreement += found.disagreeing / max(1, found.rows)
        self.difference = max(self.difference, found.difference)
        for side, seconds in zip(self.together, (found.candidate_s, found.champion_s), strict=True):
            side.times.append(seconds)


def all_of(steps: Sequence[Step]) -> Step:
    """The steps as one, with the shares of the last."""
    whole = Step(weight=steps[-1].weight, mirror=steps[-1].mirror, began_at=steps[0].began_at)
    for step in steps:
        pairs = zip(
            (whole.champion, whole.candidate, *whole.together),
            (step.champion, step.candidate, *step.together),
            strict=True,
        )
        for total, side in pairs:
            total.requests += side.requests
            total.failures += side.failures
            total.times += side.times
            total.errors += side.errors
        whole.to_answer += step.to_answer
        whole.compared += step.compared
        whole.disagreement += step.disagreement
        whole.difference = max(whole.difference, step.difference)
        whole.keys |= step.keys
    return whole


class Evidence:
    """Reads what is new of a release, and counts each request once."""

    def __init__(self, store: ReleaseStore, release: Release) -> None:
        self.steps: list[Step] = []
        # Answers by second since the beginning, of the champion and of the candidate.
        self.answers: Counter[tuple[int, str]] = Counter()
        self._store, self._release = store, release
        self._counted: dict[str, float] = {}
        self._compared: dict[str, float] = {}
        self._newest = release.began_at

    def begin_step(self, weight: float, mirror: float, at: float) -> Step:
        """What comes from now on is of this step."""
        self.steps.append(Step(weight, mirror, at))
        return self.steps[-1]

    def look(self) -> None:
        """Read what came since the last look. Raises RecordsError."""
        # While replicas of the candidate started, the champion was slower than it is.
        since = max(self.steps[0].began_at, self._newest - _LATE_S)
        for answered in self._store.answered(self._release, since):
            if answered.prediction_id not in self._counted:
                self._counted[answered.prediction_id] = answered.at
                self._newest = max(self._newest, answered.at)
                second = int(answered.at - self._release.began_at)
                self.answers[second, answered.version] += answered.status < _REFUSED
                self._step_of(answered.at).add_answer(answered, self._release)
        for found in self._store.compared(self._release, since):
            if found.prediction_id not in self._compared:
                self._compared[found.prediction_id] = found.at
                self._step_of(found.at).add_comparison(found, self._release)
        for known in (self._counted, self._compared):
            for name in [name for name, at in known.items() if at < self._newest - 2 * _LATE_S]:
                del known[name]

    def _step_of(self, at: float) -> Step:
        """The step that a moment is in."""
        return next(step for step in reversed(self.steps) if step.began_at <= at)
