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
    """Counts how often it is read, and reads slowly or not at all where it is told to."""

    num_readings = 0
    delay_s = 0.0
    is_cut = False

    def exchange(self, counts: Counts) -> Snapshot:
        self.num_readings += 1
        time.sleep(self.delay_s)
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


def test_a_new_key_is_found_as_soon_as_it_is_asked_with(store: KeyStore) -> None:
    known = KnownKeys(store)

    async def create() -> None:
        key, _ = await asyncio.to_thread(store.create, "acme", Rights())
        began = time.monotonic()
        await known.renewed()
        assert known.find(key.prefix) == key
        assert time.monotonic() - began < 1

    running(known, create)


def test_many_who_ask_for_keys_that_nobody_made_share_a_few_readings(watched: Watched) -> None:
    known = KnownKeys(watched)

    async def ask() -> None:
        before = watched.num_readings
        end = time.monotonic() + 1
        while time.monotonic() < end:
            await asyncio.gather(*(known.renewed() for _ in range(200)))
        assert 2 <= watched.num_readings - before <= 6

    running(known, ask)


def test_a_slow_database_holds_up_nothing_else(watched: Watched) -> None:
    known = KnownKeys(watched)

    async def tick() -> None:
        watched.delay_s = 0.5
        waiting = asyncio.create_task(known.renewed())
        slowest, end = 0.0, time.monotonic() + 1
        while time.monotonic() < end:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < 0.3
        await waiting
        watched.delay_s = 0

    running(known, tick)


def test_a_database_that_hangs_is_not_waited_for(watched: Watched) -> None:
    known = KnownKeys(watched)

    async def ask() -> None:
        watched.delay_s = 1.5
        began = time.monotonic()
        await known.renewed()
        assert time.monotonic() - began < 1.4
        watched.delay_s = 0

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


def test_what_was_counted_is_written_down_at_the_end_and_once(watched: Watched) -> None:
    known = KnownKeys(watched)

    async def count() -> None:
        watched.delay_s = 0.2
        for _ in range(5):
            known.count("a")
        waiting = asyncio.create_task(known.renewed())
        # The end comes while these are being written, and after more were counted.
        await asyncio.sleep(0.3)
        known.count("a")
        assert known.used("a") == 6
        waiting.cancel()

    running(known, count)
    assert watched.used() == {"a": 6}


def test_what_is_being_written_counts_meanwhile(watched: Watched) -> None:
    known = KnownKeys(watched)

    async def count() -> None:
        watched.delay_s = 0.1
        seen = set()
        for number in range(1, 60):
            known.count("a")
            seen.add(known.used("a") - number)
            if number % 20 == 0:
                await known.renewed()
            await asyncio.sleep(0.005)
        assert seen == {0}

    running(known, count)


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
