import math
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from aiplat.errors import ConfigError
from aiplat.serving.metering.account import Account, Reconciliation
from aiplat.serving.metering.prices import Price, PriceList
from aiplat.serving.metering.replica_time import ReplicaMinute
from aiplat.serving.metering.usage import UsageRecord

MakeRecord = Callable[..., UsageRecord]


def at(month: int, day: int, hour: int = 12) -> float:
    return datetime(2026, month, day, hour, tzinfo=UTC).timestamp()


def test_a_key_pays_for_answers_and_for_compute_time(make_record: MakeRecord) -> None:
    prices = PriceList(default=Price(per_1000_requests=2.0, per_compute_second=0.1))
    records = [make_record(at(3, 1), compute_s=0.5, rows=3) for _ in range(10)]
    (charge,) = Account(prices).add(records).charges()
    assert charge.amount == pytest.approx(10 / 1000 * 2 + 5 * 0.1)
    assert (charge.requests, charge.rows, charge.day) == (10, 30, "2026-03-01")


def test_what_was_refused_or_failed_costs_nothing_and_is_counted(make_record: MakeRecord) -> None:
    prices = PriceList(default=Price(per_1000_requests=1000))
    statuses = [200, 422, 404, 499, 503, 500]
    records = [make_record(at(3, 1), status=status) for status in statuses]
    (charge,) = Account(prices).add(records).charges()
    assert (charge.requests, charge.refused, charge.failed, charge.amount) == (1, 3, 2, 1.0)


def test_free_requests_are_the_first_of_each_month(make_record: MakeRecord) -> None:
    prices = PriceList(default=Price(per_1000_requests=1000, free_requests=3))
    days = [(3, 30), (3, 30), (3, 31), (3, 31), (4, 1)]
    records = [make_record(at(*day)) for day in days]
    charges = Account(prices).add(records).charges()
    assert [(charge.day, charge.amount) for charge in charges] == [
        ("2026-03-30", 0),
        ("2026-03-31", 1),
        ("2026-04-01", 0),
    ]


def test_free_requests_of_before_the_window_are_used_up(make_record: MakeRecord) -> None:
    prices = PriceList(default=Price(per_1000_requests=1000, free_requests=3))
    account = Account(prices, used={("k", "clip", "2026-03"): 2})
    (charge,) = account.add([make_record(at(3, 5)) for _ in range(3)]).charges()
    assert charge.amount == 2


def test_an_endpoint_may_have_its_own_price(make_record: MakeRecord) -> None:
    prices = PriceList(endpoints={"clip": Price(per_1000_requests=1000)})
    other = UsageRecord("bert", at=at(3, 1), key="k", status=200)
    charges = Account(prices).add([make_record(at(3, 1)), other]).charges()
    assert {charge.endpoint: charge.amount for charge in charges} == {"clip": 1, "bert": 0}


def test_service_levels_say_how_many_failed_and_how_long_answers_took(
    make_record: MakeRecord,
) -> None:
    answered = [make_record(0.0, total_s=number / 100) for number in range(1, 101)]
    failed = [make_record(0.0, status=503, total_s=9.0) for _ in range(2)]
    refused = [make_record(0.0, status=429) for _ in range(50)]
    (level,) = Account(PriceList()).add([*answered, *failed, *refused]).service_levels(0.96)
    assert level.availability == pytest.approx(100 / 102)
    assert (level.p50_s, level.p95_s, level.p99_s) == (0.5, 0.95, 0.99)
    assert level.error_budget == pytest.approx(1 - 2 / (0.04 * 102))
    assert (level.requests, level.failed) == (152, 2)


def test_without_answers_there_are_no_times(make_record: MakeRecord) -> None:
    (level,) = Account(PriceList()).add([make_record(0.0, status=429)]).service_levels(0.999)
    assert math.isnan(level.p99_s)
    assert (level.availability, level.error_budget) == (1, 1)


@pytest.mark.parametrize(
    ("busy_s", "closes"), [(5.0, True), (5.5, True), (6.5, False), (3.5, False)]
)
def test_the_books_close_where_records_and_replicas_tell_of_the_same_seconds(
    make_record: MakeRecord, busy_s: float, closes: bool
) -> None:
    account = Account(PriceList()).add([make_record(0.0, compute_s=0.5) for _ in range(10)])
    minutes = [
        ReplicaMinute("a", 0, "clip", "3", 60, busy_s),
        ReplicaMinute("b", 0, "clip", "3", 40),
    ]
    found = account.reconciled(minutes)
    assert (found.replica_s, found.attributed_s, found.idle_s) == (100, 5, 100 - busy_s)
    assert found.unexplained == pytest.approx((busy_s - 5) / 100)
    assert found.closes == closes


def test_seconds_that_compared_versions_are_nobodys_and_explained(make_record: MakeRecord) -> None:
    account = Account(PriceList(default=Price(per_compute_second=1)))
    account.add([make_record(0.0, compute_s=2)])
    found = account.reconciled([ReplicaMinute("a", 0, "clip", "3", 60, 5)], mirrored_s=3)
    assert (found.attributed_s, found.mirrored_s, found.idle_s) == (2, 3, 55)
    assert found.closes
    assert [charge.amount for charge in account.charges()] == [2]


def test_seconds_for_requests_that_left_are_nobodys_and_explained(make_record: MakeRecord) -> None:
    account = Account(PriceList(default=Price(per_compute_second=1)))
    account.add([make_record(0.0, compute_s=2), make_record(0.0, status=499, compute_s=0)])
    minutes = [
        ReplicaMinute("a", 0, "clip", "3", 60, 5, 2.5),
        ReplicaMinute("a", 1, "clip", "3", 10, 0, 0.5),
    ]
    found = account.reconciled(minutes)
    assert found == Reconciliation(replica_s=70, attributed_s=2, idle_s=65, unclaimed_s=3)
    assert (found.unexplained, found.explained_s) == (0, 70)
    assert sum(charge.amount for charge in account.charges()) == 2


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ConfigError, match="per_compute_second is -1, expected at least 0"):
        Price(per_compute_second=-1)
