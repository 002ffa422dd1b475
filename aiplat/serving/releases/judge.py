"""Whether a candidate is worse than its champion by more than is allowed, as far as can be told."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aiplat.serving.releases.bounds import bounds
from aiplat.serving.releases.evidence import Step

# The champion's 95th percentile is what the candidate is held against; so many are slower.
_SLOW_SHARE = 0.05
# With fewer answers of the champion nobody knows its 95th percentile.
_MIN_TIMES = 50
# Less than this is no harm, however quick the champion is.
_LEAST_S = 0.005


@dataclass(frozen=True)
class Limits:
    """What a candidate may do worse than its champion. alpha: see `Finding`."""

    max_error_share: float = 0.01
    max_latency_ratio: float = 1.5
    max_disagreement: float = 0.1
    alpha: float = 0.01


@dataclass(frozen=True)
class Finding:
    """One thing that is looked at. seen: its share of `count` requests of the candidate.

    lower, upper: where the true share is; the probability that any finding of a release ever misses
    it is at most alpha. allowed: the largest share that is no harm. meaning: of the share, in
    words.
    """

    name: str
    count: int
    seen: float
    lower: float
    upper: float
    allowed: float
    meaning: str

    @property
    def is_harm(self) -> bool:
        """Whether more than is allowed is certain."""
        return self.lower > self.allowed

    @property
    def is_suspected(self) -> bool:
        """Whether more than is allowed was seen, be it by chance."""
        return self.seen > self.allowed

    @property
    def is_fine(self) -> bool:
        """Whether no more than is allowed is certain."""
        return self.upper <= self.allowed

    def __str__(self) -> str:
        sure = f"{self.lower:.2%} to {self.upper:.2%}"
        return (
            f"{self.name}: {self.seen:.2%} of {self.count} {self.meaning}; the true share is "
            f"{sure}, allowed are {self.allowed:.2%}"
        )


def judge(seen: Step, limits: Limits) -> list[Finding]:
    """What is found on all there is; nothing of what cannot be told yet."""
    # Any of the three may be wrong.
    alpha = limits.alpha / 3
    checks: Sequence[Callable[[Step, Limits, float], Finding | None]] = (
        _errors,
        _latency,
        _disagreement,
    )
    return [found for check in checks if (found := check(seen, limits, alpha)) is not None]


def _errors(seen: Step, limits: Limits, alpha: float) -> Finding | None:
    champion, candidate = seen.champion, seen.candidate
    if not candidate.requests:
        return None
    usual = champion.failures / champion.requests if champion.requests else 0.0
    causes = "; ".join(f"{cause} ({count})" for cause, count in candidate.errors.most_common(3))
    return _finding(
        "errors",
        (candidate.failures, candidate.requests),
        alpha,
        min(1.0, usual + limits.max_error_share),
        f"requests failed, {usual:.2%} of the champion's{f' [{causes}]' if causes else ''}",
    )


def _latency(seen: Step, limits: Limits, alpha: float) -> Finding | None:
    candidate, champion = seen.candidate, seen.champion
    if not candidate.times:
        candidate, champion = seen.together
    if len(champion.times) < _MIN_TIMES or not candidate.times:
        return None
    usual_s = champion.quantile_s(1 - _SLOW_SHARE)
    slow_s = max(limits.max_latency_ratio * usual_s, usual_s + _LEAST_S)
    slow = int(np.count_nonzero(np.asarray(candidate.times) > slow_s))
    return _finding(
        "latency",
        (slow, len(candidate.times)),
        alpha,
        _SLOW_SHARE,
        f"requests took longer than {slow_s * 1000:.1f} ms, where 95 of 100 of the champion's take "
        f"at most {usual_s * 1000:.1f} ms",
    )


def _disagreement(seen: Step, limits: Limits, alpha: float) -> Finding | None:
    if not seen.compared:
        return None
    return _finding(
        "disagreement",
        (seen.disagreement, seen.compared),
        alpha,
        limits.max_disagreement,
        "compared requests (by their rows) were answered otherwise than by the champion",
    )


def _finding(
    name: str, of: tuple[float, int], alpha: float, allowed: float, meaning: str
) -> Finding:
    total, count = of
    lower, upper = bounds(total, count, alpha)
    return Finding(name, count, total / count, lower, upper, allowed, meaning)
