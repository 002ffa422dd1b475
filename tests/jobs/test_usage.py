import csv
import io
import json
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.serving_schema import UsageConfig
from aiplat.jobs.usage import main
from aiplat.serving.metering.books import BooksPlace, books_place
from aiplat.serving.metering.ledger import Ledger, comparison_line, replica_line, usage_line
from aiplat.serving.metering.replica_time import ReplicaMinute
from aiplat.serving.metering.spool import Spool
from aiplat.serving.metering.usage import UsageRecord
from aiplat.serving.releases.comparison import Comparison

MARCH = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
WINDOW = ("since=2026-03-02", "until=2026-03-04")


@pytest.fixture
def place(tmp_path: Path) -> BooksPlace:
    return books_place(str(tmp_path), None)


@pytest.fixture
def ledger(place: BooksPlace) -> Iterator[Ledger]:
    with closing(place.open_ledger()) as ledger:
        yield ledger


def record(at: float, key: str = "k", state: int = 200) -> UsageRecord:
    return UsageRecord("clip", at=at, key=key, principal="acme", status=state, compute_s=0.5)


def minute(at: float, alive_s: float, busy_s: float) -> ReplicaMinute:
    return ReplicaMinute("r", int(at // 60), "clip", "3", alive_s, busy_s)


def usage(tmp_path: Path, *overrides: str) -> int:
    return status(main, "usage", UsageConfig, [f"storage={tmp_path}", *overrides])


def test_a_bill_has_a_line_for_each_key_and_the_books_close(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [record(MARCH), record(MARCH + 86400), record(MARCH, "j"), record(MARCH, "j", 503)]
    records[-1].compute_s = 0
    ledger.take([*map(usage_line, records), replica_line(minute(MARCH, 60, 1.5))])
    assert usage(tmp_path, *WINDOW, "format=json", "prices.default.per_1000_requests=1000") == 0
    told = json.loads(capsys.readouterr().out)
    lines = {line["key"]: (line["requests"], line["amount"]) for line in told["charges"]}
    assert lines == {"k": (2, 2.0), "j": (1, 1.0)}
    assert told["reconciliation"]["closes"]
    assert told["reconciliation"]["idle_s"] == 58.5
    assert told["service_levels"][0]["availability"] == 0.75
    assert usage(tmp_path, *WINDOW) == 0
    shown = capsys.readouterr().out
    assert "attributed 1.5 s + idle 58.5 s = 60.0 s of 60.0 replica seconds" in shown
    assert "the books close" in shown


def test_books_that_do_not_close_are_told(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.take([usage_line(record(MARCH)), replica_line(minute(MARCH, 60, 10))])
    usage(tmp_path, *WINDOW)
    assert "the books do not close" in capsys.readouterr().out


def test_what_a_release_compared_is_told_and_not_billed(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = Comparison("p", "r", "clip", "3", 1, compute_s=2.0, at=MARCH)
    lines = [comparison_line(compared), replica_line(minute(MARCH, 60, 2.5))]
    ledger.take([usage_line(record(MARCH)), *lines])
    usage(tmp_path, *WINDOW)
    shown = capsys.readouterr().out
    assert "attributed 0.5 s + mirrored 2.0 s + idle 57.5 s = 60.0 s of 60.0" in shown
    assert "the books close" in shown


def test_what_models_ran_for_nobody_is_told_and_not_billed(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    busy = replace(minute(MARCH, 60, 2.5), unclaimed_s=2.0)
    ledger.take([usage_line(record(MARCH)), replica_line(busy)])
    usage(tmp_path, *WINDOW)
    shown = capsys.readouterr().out
    assert "attributed 0.5 s + unclaimed 2.0 s + idle 57.5 s = 60.0 s of 60.0" in shown
    assert "the books close" in shown
    usage(tmp_path, *WINDOW, "format=json")
    assert json.loads(capsys.readouterr().out)["reconciliation"]["unclaimed_s"] == 2.0


def test_csv_has_a_line_for_what_was_asked_for(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.take([usage_line(record(at)) for at in (MARCH, MARCH, MARCH + 86400)])
    usage(tmp_path, *WINDOW, "format=csv", "by=[endpoint,day]")
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(line["day"], line["requests"]) for line in lines] == [
        ("2026-03-02", "2"),
        ("2026-03-03", "1"),
    ]
    assert "key" not in lines[0]


def test_free_requests_that_were_used_before_the_window_are_gone(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.take([usage_line(record(at)) for at in (MARCH - 86400, MARCH, MARCH)])
    prices = ("prices.default.per_1000_requests=1000", "prices.default.free_requests=2")
    usage(tmp_path, *WINDOW, "format=json", *prices)
    assert json.loads(capsys.readouterr().out)["charges"][0]["amount"] == 1


def test_an_endpoint_may_have_a_price_of_its_own(
    tmp_path: Path, ledger: Ledger, capsys: pytest.CaptureFixture[str]
) -> None:
    used = record(MARCH)
    ledger.take([usage_line(used)])
    usage(
        tmp_path, *WINDOW, "format=json", f"prices.endpoints.{used.endpoint}.per_1000_requests=3000"
    )
    assert json.loads(capsys.readouterr().out)["charges"][0]["amount"] == 3


def test_what_a_dead_process_left_counts(
    tmp_path: Path, place: BooksPlace, capsys: pytest.CaptureFixture[str]
) -> None:
    left = Spool(Path(place.folder))
    left.append(usage_line(record(time.time())))
    left.close()
    usage(tmp_path, "format=json")
    assert json.loads(capsys.readouterr().out)["charges"][0]["requests"] == 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("since=yesterday", "since is 'yesterday', expected a day as 2026-11-01"),
        ("availability=99.9", "availability is 99.9, expected 0 to 1"),
        ("by=[model]", "by"),
        ("prices.default.free_requests=-1", "free_requests is -1, expected at least 0"),
    ],
)
def test_what_cannot_be_told_is_refused(
    tmp_path: Path, override: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage(tmp_path, override) == 2
    assert said in capsys.readouterr().err


def test_a_window_that_ends_before_it_begins_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert usage(tmp_path, "since=2026-03-04", "until=2026-03-02") == 2
    assert "since=2026-03-04 is not before until=2026-03-02" in capsys.readouterr().err
