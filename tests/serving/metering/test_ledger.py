from collections.abc import Callable

from aiplat.serving.metering.ledger import Ledger, replica_line, usage_line
from aiplat.serving.metering.replica_time import ReplicaMinute
from aiplat.serving.metering.usage import UsageRecord

MakeRecord = Callable[..., UsageRecord]


def test_a_record_is_taken_in_once_however_often_it_comes(
    ledger: Ledger, make_record: MakeRecord
) -> None:
    first, second = make_record(1.0), make_record(2.0)
    ledger.take([usage_line(first), usage_line(first)])
    ledger.take([usage_line(second), usage_line(first)])
    assert list(ledger.records(0, 10)) == [first, second]
    assert ledger.find(second.prediction_id) == second
    assert ledger.find("nothing") is None


def test_records_of_a_window_are_in_the_order_of_their_time(
    ledger: Ledger, make_record: MakeRecord
) -> None:
    records = [make_record(float(at)) for at in (5, 3, 9, 1)]
    ledger.take([usage_line(record) for record in records])
    assert [record.at for record in ledger.records(3, 9)] == [3, 5]


def test_more_than_a_statement_takes_is_taken_in(ledger: Ledger, make_record: MakeRecord) -> None:
    ledger.take([usage_line(make_record(float(at))) for at in range(2000)])
    assert len(list(ledger.records(0, 2000))) == 2000


def test_a_minute_of_a_replica_only_grows(ledger: Ledger) -> None:
    def minute(number: int, alive_s: float, busy_s: float, unclaimed_s: float) -> ReplicaMinute:
        return ReplicaMinute("r", number, "clip", "3", alive_s, busy_s, unclaimed_s)

    early, late = minute(7, 10, 2, 0.5), minute(7, 30, 5, 0.75)
    ledger.take([replica_line(early), replica_line(late), replica_line(minute(8, 1, 0, 0))])
    ledger.take([replica_line(early)])
    assert ledger.replica_minutes(7 * 60, 8 * 60) == [late]
    assert len(ledger.replica_minutes(7 * 60, 9 * 60)) == 2


def test_lines_of_a_later_version_are_taken_for_what_they_are(
    ledger: Ledger, make_record: MakeRecord
) -> None:
    record = make_record(1.0)
    ledger.take([{**usage_line(record), "colour": "red"}, {"kind": "energy", "joules": 3}])
    assert list(ledger.records(0, 10)) == [record]


def test_lines_of_an_earlier_version_are_taken_with_what_they_have(
    ledger: Ledger, make_record: MakeRecord
) -> None:
    record, minute = make_record(1.0), ReplicaMinute("r", 0, "clip", "3", 30, 5)
    line, time = usage_line(record), replica_line(minute)
    del line["model_s"], time["unclaimed_s"]
    ledger.take([line, time])
    (found,) = ledger.records(0, 10)
    assert (found.prediction_id, found.model_s) == (record.prediction_id, 0)
    assert ledger.replica_minutes(0, 60) == [minute]
