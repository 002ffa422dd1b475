"""What a replica knows of the keys, in the time that clocks on walls tell."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable

import pytest

from aiplat.errors import RecordsError
from aiplat.serving.config import ServingConfig
from aiplat.serving.gate import OpenGate
from aiplat.serving.keys import known as module
from aiplat.serving.keys.gate import KeyGate
from aiplat.serving.keys.key import Rights
from aiplat.serving.keys.known import KnownKeys
from aiplat.serving.keys.open import open_gate
from aiplat.serving.keys.store import Counts, KeyStore, Snapshot
from aiplat.store.records import Records, open_records, records_url


@pytest.fixture
def store(sqlite_records: Records) -> KeyStore:
    return KeyStore(sqlite_records)


class Watched(KeyStore):
    """Counts how often it is read, and reads late or not at all where it is told to."""

    def __init__(self, records: Records) -> None:
        super().__init__(records)
        self.num_readings = 0
        self.is_cut = False
        self.is_read = threading.Event()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def exchange(self, counts: Counts) -> Snapshot:
        self.num_readings += 1
        self.is_read.set()
        # Where it is waited for by who would let it go on, this ends all the same.
        self.may_go_on.wait(10)
        if self.is_cut:
            raise RecordsError("no route")
        return super().exchange(counts)


@pytest.fixture
def watched(sqlite_records: Records) -> Watched:
    return Watched(sqlite_records)


def running(known: KnownKeys, then: Callable[[], Awaitable[None]]) -> None:
    async def work() -> None:
        await known.refresh()
        async with known:
            await then()

    asyncio.run(work())


async def until(condition: Callable[[], bool], seconds: float) -> float:
    """How long it took; fails where it took longer."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not so after {seconds} s"
        await asyncio.sleep(0.01)
    return time.monotonic() - began


def test_a_revocation_arrives_within_five_seconds_without_being_asked_for(store: KeyStore) -> None:
    key, _ = store.create("acme", Rights())
    known = KnownKeys(store)

    async def revoke() -> None:
        await asyncio.to_thread(store.revoke, key.prefix)
        await until(lambda: bool(known.find(key.prefix).revoked_at), 5)  # type: ignore[union-attr]

    running(known, revoke)


def test_a_new_key_is_found_as_soon_as_it_is_asked_with(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The next reading that nobody asks for is far away.
    monkeypatch.setattr(module, "REFRESH_S", 60)
    monkeypatch.setattr(module, "_PATIENCE_S", 30)
    known = KnownKeys(store)

    async def create() -> None:
        for _ in range(2):
            key, _ = await asyncio.to_thread(store.create, "acme", Rights())
            await known.renewed()
            assert known.find(key.prefix) == key

    running(known, create)


def test_many_who_ask_for_keys_that_nobody_made_share_a_few_readings(watched: Watched) -> None:
    known = KnownKeys(watched)

    async def ask() -> None:
        before = watched.num_readings
        end = time.monotonic() + 1
        while time.monotonic() < end:
            await asyncio.gather(*(known.renewed() for _ in range(200)))
        assert 1 <= watched.num_readings - before <= 6

    running(known, ask)


def test_nothing_waits_for_a_slow_database(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
    key, _ = watched.create("acme", Rights())
    known = KnownKeys(watched)

    async def ask() -> None:
        watched.may_go_on.clear()
        watched.is_read.clear()
        waiting = asyncio.create_task(known.renewed())
        await asyncio.to_thread(watched.is_read.wait, 10)
        before = watched.num_readings
        # This loop goes on, known keys are known, and who asks for others is told in time.
        await waiting
        await known.renewed()
        assert known.find(key.prefix) == key
        assert watched.num_readings == before
        watched.may_go_on.set()

    running(known, ask)


def test_trouble_is_told_once_and_its_end_too(
    watched: Watched, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.05)
    monkeypatch.setattr(module, "_SOONEST_S", 0.01)
    known = KnownKeys(watched)

    async def cut() -> None:
        before = watched.num_readings
        watched.is_cut = True
        await until(lambda: watched.num_readings > before + 3, 5)
        assert known.is_failing
        watched.is_cut = False
        await until(lambda: not known.is_failing, 5)

    with caplog.at_level(logging.WARNING):
        running(known, cut)
    assert [record.message for record in caplog.records] == [
        "keys cannot be read, those known are used on: no route",
        "keys can be read again",
    ]


def test_what_is_counted_stays_counted_while_it_is_written_and_is_written_once(
    watched: Watched,
) -> None:
    known = KnownKeys(watched)

    async def count() -> None:
        for _ in range(5):
            known.count("a")
        watched.may_go_on.clear()
        watched.is_read.clear()
        waiting = asyncio.create_task(known.renewed())
        await asyncio.to_thread(watched.is_read.wait, 10)
        assert known.used("a") == 5
        known.count("a")
        assert known.used("a") == 6
        waiting.cancel()
        # The end comes while the five are being written and the sixth is not yet.
        threading.Timer(0.1, watched.may_go_on.set).start()

    running(known, count)
    assert known.used("a") == 6
    assert watched.used() == {"a": 6}


def test_replicas_are_counted_and_the_last_number_holds_where_they_cannot_be(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_COUNT_REPLICAS_S", 0.01)
    numbers = iter([3, 0])
    told = threading.Event()

    async def count() -> int:
        try:
            return next(numbers)
        except StopIteration:
            told.set()
            raise RuntimeError("no controller") from None

    known = KnownKeys(store, count)

    async def watch() -> None:
        await until(lambda: known.num_replicas == 3, 2)
        await until(told.is_set, 2)
        # None running is one: this one.
        assert known.num_replicas == 1

    running(known, watch)


async def two() -> int:
    return 2


def test_an_endpoint_without_keys_opens_no_database() -> None:
    gate = asyncio.run(open_gate(ServingConfig(auth=False), "", two))
    assert isinstance(gate, OpenGate)


def test_a_gate_knows_the_keys_before_it_is_opened(tmp_path: object) -> None:
    url = records_url(str(tmp_path), None)
    records = open_records(url)
    _, text = KeyStore(records).create("acme", Rights())
    records.close()

    async def check() -> None:
        gate = await open_gate(ServingConfig(trusted_proxies=["10.0.0.0/8"]), url, two)
        assert isinstance(gate, KeyGate)
        assert gate._known.find(text.split("_")[1]) is not None

    asyncio.run(check())


def test_a_database_that_is_not_on_this_machine_stops_the_replica(tmp_path: object) -> None:
    url = records_url(str(tmp_path), None)
    with pytest.raises(RecordsError, match="several machines needs records=postgresql://"):
        asyncio.run(open_gate(ServingConfig(), url, two))
