"""What was measured of engines, and which of them to choose by it. It knows no process."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from aiplat.inference.config import ParityConfig


@dataclass(frozen=True)
class Arm:
    """One way to compute a model."""

    engine: str
    precision: str

    @property
    def called(self) -> str:
        """How people read it."""
        return f"{self.engine} {self.precision}"


REFERENCE = Arm("eager", "fp32")

_HOPELESS_TIMES = 10.0
_HOPELESS_S = 30.0


@dataclass(frozen=True)
class Point:
    """What passes of so many rows took, in the order they were measured; times in milliseconds."""

    batch_size: int
    times_ms: Sequence[float]

    @property
    def median_ms(self) -> float:
        """Of a pass."""
        return median(self.times_ms)

    @property
    def p99_ms(self) -> float:
        """What 99 of 100 passes took at most."""
        ordered = sorted(self.times_ms)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]

    @property
    def rows_per_s(self) -> float:
        """The throughput of passes one after the other."""
        return 1000 * self.batch_size / self.median_ms


@dataclass(frozen=True)
class Parity:
    """How far an arm's answers are from torch's in fp32.

    difference: the greatest of any number in any answer. metric: the primary one; reference: that
    of torch in fp32. faults: in words, what is beyond the tolerance; empty where nothing is.
    """

    difference: float
    metric: float
    reference: float
    faults: tuple[str, ...]


def hopeless(lone_ms: float, reference_ms: float, num_rows: int) -> str | None:
    """Why an arm is not worth the time that its answers to all rows would take, if so.

    lone_ms, reference_ms: what it and the reference take for one row.
    """
    times, all_s = lone_ms / reference_ms, lone_ms * num_rows / 1000
    if times < _HOPELESS_TIMES or all_s < _HOPELESS_S:
        return None
    return f"takes {lone_ms:.0f} ms for a row, {times:.0f} times as long as torch: given up"


def judged(
    arm: Arm, difference: float, metrics: tuple[float, float], better: int, config: ParityConfig
) -> Parity:
    """The parity of an arm.

    metrics: its primary metric, and torch's in fp32. better: 1 where more is better, else -1.
    """
    metric, reference = metrics
    most = config.difference(arm.precision)
    faults = []
    # Written so that what is not a number is a fault.
    if not difference <= most:
        faults.append(f"answers differ by {difference:.2g}, at most {most:g} is let pass")
    if not better * (reference - metric) <= config.metric:
        faults.append(f"the metric is {metric:.4f}, in torch {reference:.4f}")
    return Parity(difference, metric, reference, tuple(faults))


@dataclass(frozen=True)
class Result:
    """What came of an arm.

    release: of the library. prepare_s: to compile; load_s: to load what was compiled.
    num_bytes: of what was compiled. reason: why there is nothing more; None where all went well.
    """

    arm: Arm
    reason: str | None = None
    release: str = ""
    prepare_s: float = 0.0
    load_s: float = 0.0
    num_bytes: int = 0
    parity: Parity | None = None
    points: tuple[Point, ...] = ()

    @property
    def is_in_parity(self) -> bool:
        """Whether its answers may stand for torch's."""
        return self.reason is None and self.parity is not None and not self.parity.faults

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told: dict[str, Any] = {"engine": self.arm.engine, "precision": self.arm.precision}
        if self.reason is not None:
            return {**told, "reason": self.reason}
        if self.parity is not None:
            told |= {
                "max_difference": self.parity.difference,
                "metric": self.parity.metric,
                "faults": list(self.parity.faults),
            }
        return {
            **told,
            "release": self.release,
            "prepare_s": round(self.prepare_s, 3),
            "load_s": round(self.load_s, 3),
            "num_bytes": self.num_bytes,
            "points": [
                {
                    "batch_size": point.batch_size,
                    "median_ms": round(point.median_ms, 4),
                    "p99_ms": round(point.p99_ms, 4),
                    "rows_per_s": round(point.rows_per_s, 3),
                    "passes": len(point.times_ms),
                }
                for point in self.points
            ],
        }


@dataclass(frozen=True)
class Chosen:
    """An arm and the size of the batches it is best in."""

    result: Result
    point: Point


def chosen(results: Iterable[Result], p99_ms: float | None) -> Chosen | None:
    """Of the arms in parity, the one of highest throughput among passes that take 99 of 100 times
    at most `p99_ms`; None where there is none.
    """
    allowed = [
        Chosen(result, point)
        for result, point in _candidates(results)
        if p99_ms is None or point.p99_ms <= p99_ms
    ]
    return max(allowed, key=lambda item: item.point.rows_per_s, default=None)


def why_none(results: Sequence[Result], p99_ms: float) -> str:
    """Why no arm was chosen, and which came nearest."""
    nearest = min(_candidates(results), key=lambda item: item[1].p99_ms, default=None)
    if nearest is None:
        return "no engine gave answers in parity: see the reasons in the table"
    result, point = nearest
    return (
        f"no engine in parity answers within slo.p99_ms={p99_ms:g}: the nearest is "
        f"{result.arm.called} at batch size {point.batch_size} with {point.p99_ms:.1f} ms; raise "
        "slo.p99_ms, give it more threads, or measure smaller batches (batch_sizes)"
    )


def speedup(results: Iterable[Result], point: Point) -> float | None:
    """How much quicker a pass is than torch's in fp32; None where that was not measured."""
    for result in results:
        if result.arm == REFERENCE:
            for other in result.points:
                if other.batch_size == point.batch_size:
                    return other.median_ms / point.median_ms
    return None


def _candidates(results: Iterable[Result]) -> list[tuple[Result, Point]]:
    return [(result, point) for result in results if result.is_in_parity for point in result.points]
