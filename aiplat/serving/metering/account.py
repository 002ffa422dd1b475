"""Bills, service levels, and whether the books close: made of usage records and replicas' time."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from aiplat.serving.metering.prices import PriceList
from aiplat.serving.metering.replica_time import ReplicaMinute
from aiplat.serving.metering.usage import UsageRecord

# Statuses from here on are no answers; from 500 on the fault was ours.
_REFUSED, _FAILED = 400, 500
# Seconds that replicas were busy or there, but that no record speaks for, at most, of all of them.
TOLERANCE = 0.01


@dataclass(frozen=True)
class Charge:
    """What one key used of one endpoint on one day (UTC). amount: in the list's currency."""

    key: str
    principal: str
    endpoint: str
    day: str
    requests: int
    refused: int
    failed: int
    rows: int
    bytes_in: int
    bytes_out: int
    compute_s: float
    amount: float


@dataclass(frozen=True)
class ServiceLevel:
    """How an endpoint answered. Times in seconds; of answered requests.

    availability: share of requests that did not fail by our fault. error_budget: share of the
    failures that the objective allows which is left; below 0 it was missed.
    """

    endpoint: str
    requests: int
    failed: int
    availability: float
    p50_s: float
    p95_s: float
    p99_s: float
    error_budget: float


@dataclass(frozen=True)
class Reconciliation:
    """Replica seconds of a window, by what became of them.

    replica_s: replicas were there. attributed_s: usage records speak for. idle_s: no model ran.
    mirrored_s: models ran to be compared, and nobody pays for it. unclaimed_s: models ran for
    requests that had left or failed when the model was done, and nobody pays for that either.
    """

    replica_s: float
    attributed_s: float
    idle_s: float
    mirrored_s: float = 0.0
    unclaimed_s: float = 0.0

    @property
    def explained_s(self) -> float:
        """Seconds of which it is known what became of them."""
        return self.attributed_s + self.mirrored_s + self.unclaimed_s + self.idle_s

    @property
    def unexplained(self) -> float:
        """Share of the replicas' seconds that is none of these; negative where more was billed."""
        if self.replica_s == 0:
            return 0.0 if self.explained_s == 0 else -math.inf
        return (self.replica_s - self.explained_s) / self.replica_s

    @property
    def closes(self) -> bool:
        """Whether all but a small part is explained."""
        return abs(self.unexplained) <= TOLERANCE


@dataclass
class _Sum:
    principal: str = ""
    requests: int = 0
    refused: int = 0
    failed: int = 0
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    compute_s: float = 0.0

    def add(self, record: UsageRecord) -> None:
        self.principal = record.principal
        self.bytes_in += record.bytes_in
        self.bytes_out += record.bytes_out
        self.refused += _REFUSED <= record.status < _FAILED
        self.failed += record.status >= _FAILED
        if record.status < _REFUSED:
            self.requests += 1
            self.rows += record.rows
            self.compute_s += record.compute_s


class Account:
    """Takes records in, in the order of their time, and says what came of them.

    used: answered requests by (key, endpoint, month) before the first record, for free tiers.
    """

    def __init__(
        self, prices: PriceList, used: dict[tuple[str, str, str], int] | None = None
    ) -> None:
        self.prices = prices
        self._used = defaultdict(int, used or {})
        self._days: dict[tuple[str, str, str], _Sum] = defaultdict(_Sum)
        self._endpoints: dict[str, _Sum] = defaultdict(_Sum)
        self._times: dict[str, list[float]] = defaultdict(list)
        self.attributed_s = 0.0

    def add(self, records: Iterable[UsageRecord]) -> "Account":
        """Take records in."""
        for record in records:
            self._days[record.key, record.endpoint, _day(record.at)].add(record)
            self._endpoints[record.endpoint].add(record)
            if record.status < _REFUSED:
                self._times[record.endpoint].append(record.total_s)
            self.attributed_s += record.compute_s
        return self

    def charges(self) -> list[Charge]:
        """A line for each key, endpoint and day. Free requests are the first ones of a month."""
        used, lines = self._used.copy(), []
        for (key, endpoint, day), total in sorted(self._days.items(), key=lambda item: item[0][2]):
            month = (key, endpoint, day[:7])
            price = self.prices.of(endpoint)
            free = max(0, price.free_requests - used[month])
            used[month] += total.requests
            lines.append(
                Charge(
                    key=key,
                    principal=total.principal,
                    endpoint=endpoint,
                    day=day,
                    requests=total.requests,
                    refused=total.refused,
                    failed=total.failed,
                    rows=total.rows,
                    bytes_in=total.bytes_in,
                    bytes_out=total.bytes_out,
                    compute_s=total.compute_s,
                    amount=price.of(total.requests, total.compute_s, free),
                )
            )
        return lines

    def service_levels(self, availability: float) -> list[ServiceLevel]:
        """How each endpoint answered, against an objective (0.999, say)."""
        levels = []
        for endpoint, total in sorted(self._endpoints.items()):
            # What the client got wrong says nothing of us.
            counted = total.requests + total.failed
            reached = 1 - total.failed / counted if counted else 1.0
            allowed = (1 - availability) * counted
            times = sorted(self._times[endpoint])
            levels.append(
                ServiceLevel(
                    endpoint=endpoint,
                    requests=counted + total.refused,
                    failed=total.failed,
                    availability=reached,
                    p50_s=_quantile(times, 0.5),
                    p95_s=_quantile(times, 0.95),
                    p99_s=_quantile(times, 0.99),
                    error_budget=1 - total.failed / allowed if allowed else float(not total.failed),
                )
            )
        return levels

    def reconciled(
        self, minutes: Sequence[ReplicaMinute], mirrored_s: float = 0.0
    ) -> Reconciliation:
        """Whether what is billed and what replicas did are the same seconds.

        mirrored_s: those that were spent on comparing versions.
        """
        alive = math.fsum(minute.alive_s for minute in minutes)
        busy = math.fsum(minute.busy_s for minute in minutes)
        unclaimed = math.fsum(minute.unclaimed_s for minute in minutes)
        return Reconciliation(alive, self.attributed_s, alive - busy, mirrored_s, unclaimed)


def month_start(at: float) -> float:
    """The first moment of the calendar month (UTC), in seconds since 1970."""
    first = datetime.fromtimestamp(at, UTC).replace(
        day=1, hour=0, minute=0, second=0, microsecond=0
    )
    return first.timestamp()


def used_before(records: Iterable[UsageRecord]) -> dict[tuple[str, str, str], int]:
    """Answered requests by (key, endpoint, month)."""
    answered = (record for record in records if record.status < _REFUSED)
    return Counter((record.key, record.endpoint, _day(record.at)[:7]) for record in answered)


def _day(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).date().isoformat()


def _quantile(times: Sequence[float], share: float) -> float:
    """The smallest time that so many of them do not exceed."""
    return times[max(0, math.ceil(share * len(times)) - 1)] if times else math.nan
