from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from aiplat.serving.keys.store import KeyStore
from aiplat.store.records import Records
from tests.databases import postgres_server, records, sqlite_records, url

__all__ = ["postgres_server", "records", "sqlite_records", "url"]


@dataclass
class Clock:
    """A clock that stands still until it is told otherwise."""

    now: float = datetime(2026, 11, 22, 15, 30, tzinfo=UTC).timestamp()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(sqlite_records: Records, clock: Clock) -> KeyStore:
    """The keys of a new SQLite database."""
    return KeyStore(sqlite_records, clock)
