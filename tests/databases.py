"""Databases of keys and usage for tests: an SQLite file, and one on a Postgres server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from aiplat.store.records import Records, open_records, records_url
from tests import postgres


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return records_url(str(tmp_path / "storage"), None)
    server: str = request.getfixturevalue("postgres_server")
    return records_url(str(tmp_path), postgres.new_database(server))


@pytest.fixture
def records(url: str) -> Iterator[Records]:
    opened = open_records(url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_records(tmp_path: Path) -> Iterator[Records]:
    opened = open_records(records_url(str(tmp_path / "storage"), None))
    yield opened
    opened.close()
