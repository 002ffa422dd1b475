import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from aiplat.serving.metering.books import Books, BooksPlace, settle
from aiplat.serving.metering.ledger import Ledger, usage_line
from aiplat.serving.metering.replica_time import ReplicaClock
from aiplat.serving.metering.spool import Spool
from aiplat.serving.metering.usage import UsageRecord
from aiplat.store.records import records_url

MakeRecord = Callable[..., UsageRecord]
OpenBooks = Callable[..., Books]


@pytest.fixture
def open_books(tmp_path: Path, ledger: Ledger) -> Iterator[OpenBooks]:
    """Opens books that bring what they have to the ledger every few milliseconds."""
    with ExitStack() as stack:

        def open_some(
            open_ledger: Callable[[], Ledger] = lambda: ledger, clock: ReplicaClock | None = None
        ) -> Books:
            books = Books(tmp_path / "spool", open_ledger, clock, flush_s=0.01)
            return stack.enter_context(closing(books))

        yield open_some


def waited(true: Callable[[], bool]) -> bool:
    """Whether it becomes true in due time."""
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.01)
    return true()


def test_records_reach_the_ledger_while_the_books_are_open(
    open_books: OpenBooks, ledger: Ledger, make_record: MakeRecord
) -> None:
    books, record = open_books(), make_record(1.0)
    books.record(record)
    assert waited(lambda: list(ledger.records(0, 10)) == [record])


def test_what_a_dead_process_left_is_brought_home(
    tmp_path: Path, open_books: OpenBooks, ledger: Ledger, make_record: MakeRecord
) -> None:
    left, record = Spool(tmp_path / "spool"), make_record(1.0)
    left.append(usage_line(record))
    left.close()
    open_books()
    assert waited(lambda: list(ledger.records(0, 10)) == [record])


def test_a_database_that_was_away_gets_everything(
    open_books: OpenBooks, ledger: Ledger, make_record: MakeRecord
) -> None:
    tries: list[int] = []

    def open_ledger() -> Ledger:
        tries.append(1)
        if len(tries) < 4:
            raise ConnectionError("the database is away")
        return ledger

    books, records = open_books(open_ledger), [make_record(float(at)) for at in range(5)]
    for record in records:
        books.record(record)
    assert waited(lambda: list(ledger.records(0, 10)) == records)


def test_a_replicas_time_is_complete_when_the_books_are_closed(
    open_books: OpenBooks, ledger: Ledger
) -> None:
    now = [600.0]
    clock = ReplicaClock("clip", "3", lambda: now[0])
    books = open_books(clock=clock)
    now[0] = 630.0
    clock.ran(12.0)
    books.close()
    (minute,) = ledger.replica_minutes(600, 660)
    assert (minute.alive_s, minute.busy_s, minute.replica) == (30, 12, clock.replica)


def test_what_is_left_can_be_settled_without_an_endpoint(
    tmp_path: Path, ledger: Ledger, make_record: MakeRecord
) -> None:
    assert settle(str(tmp_path / "nowhere"), ledger) == 0
    left = Spool(tmp_path / "spool")
    left.append(usage_line(make_record(1.0)))
    left.close()
    assert settle(str(tmp_path / "spool"), ledger) == 1
    assert settle(str(tmp_path / "spool"), ledger) == 0
    assert len(list(ledger.records(0, 10))) == 1


def test_a_database_of_another_machine_is_not_made_here(
    tmp_path: Path, make_record: MakeRecord
) -> None:
    place = BooksPlace(str(tmp_path / "spool"), records_url(str(tmp_path), None))
    with closing(place.open()) as books:
        books.record(make_record(1.0))
    assert not (tmp_path / "records.db").exists()
    with closing(place.open_ledger()) as ledger:
        assert settle(place.folder, ledger) == 1
