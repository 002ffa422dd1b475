"""A ledger in a new database, and a record to take in."""

from collections.abc import Callable

import pytest

from aiplat.serving.metering.ledger import Ledger
from aiplat.serving.metering.usage import UsageRecord
from aiplat.store.records import Records
from tests.databases import postgres_server, records, url

__all__ = ["postgres_server", "records", "url"]


@pytest.fixture
def ledger(records: Records) -> Ledger:
    return Ledger(records)


@pytest.fixture
def make_record() -> Callable[..., UsageRecord]:
    """Makes the record of an answered request of key `k`."""

    def make(at: float = 0.0, **values: object) -> UsageRecord:
        usual = {"key": "k", "principal": "acme", "status": 200, "rows": 1, "compute_s": 0.5}
        return UsageRecord("clip", at=at, **{**usual, **values})  # type: ignore[arg-type]

    return make
