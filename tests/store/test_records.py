import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, inspect, select, text

from aiplat.errors import ConfigError, RecordsError
from aiplat.store import records as module
from aiplat.store.records import Records, open_records, records_url
from aiplat.store.tables import metadata, quota_counts

OPEN = "import sys; from aiplat.store.records import open_records; open_records(sys.argv[1])"


def add(records: Records, key_id: str, then: Callable[[], None] = lambda: None) -> None:
    with records.writing() as connection:
        row = {"key_id": key_id, "month": "2026-11", "num_requests": 1}
        connection.execute(insert(quota_counts).values(row))
        then()


def fail() -> None:
    raise ZeroDivisionError


def key_ids(records: Records) -> set[str]:
    with records.reading() as connection:
        return set(connection.execute(select(quota_counts.c.key_id)).scalars())


def test_the_steps_lead_to_the_tables(records: Records) -> None:
    with records.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        assert set(metadata.tables) < set(inspect(connection).get_table_names())


def test_the_steps_are_one_line() -> None:
    steps = ScriptDirectory(str(Path(module.__file__).parent / "migrations"))
    assert len(steps.get_heads()) == 1
    numbers = [step.revision for step in steps.walk_revisions()][::-1]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_several_processes_open_a_new_database_at_once(url: str) -> None:
    command = [sys.executable, "-c", OPEN, url]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    ended = [(process.communicate()[1], process.returncode) for process in started]
    assert ended == [("", 0)] * 4
    records = open_records(url)
    with records.reading() as connection:
        assert len(connection.execute(text("SELECT * FROM alembic_version")).all()) == 1
    records.close()


def test_several_threads_open_a_new_database_at_once(url: str) -> None:
    with ThreadPoolExecutor(4) as threads:
        for records in threads.map(open_records, [url] * 4):
            assert key_ids(records) == set()
            records.close()


def test_what_is_written_stays_and_what_fails_does_not(url: str) -> None:
    records = open_records(url)
    add(records, "kept")
    with pytest.raises(ZeroDivisionError):
        add(records, "lost", then=fail)
    records.close()
    again = open_records(url)
    assert key_ids(again) == {"kept"}
    again.close()


def test_one_reads_while_another_writes(records: Records) -> None:
    wrote, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        wrote.set()
        may_end.wait(10)

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(add, records, "late", wait)
        wrote.wait(10)
        assert key_ids(records) == set()
        may_end.set()
        writer.result()
    assert key_ids(records) == {"late"}


def test_null_is_a_file_below_the_storage(tmp_path: Path) -> None:
    url = records_url(str(tmp_path), None)
    assert url == f"sqlite:///{tmp_path}/records.db"
    open_records(url).close()
    with sqlite3.connect(tmp_path / "records.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_relative_file_is_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert records_url("storage", "sqlite:///here.db") == f"sqlite:///{tmp_path}/here.db"


def test_every_spelling_of_postgres_means_one_driver() -> None:
    for scheme in ("postgres", "postgresql", "postgresql+psycopg2"):
        url = records_url("storage", f"{scheme}://me:secret@db/name")
        assert url == "postgresql+psycopg://me:secret@db/name"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://me:secret@db/name", r"records=mysql://\.\.\.db/name is no database that can be"),
        ("me:secret@db", r"no URL of a database; expected postgresql://"),
        ("sqlite://", "is no database that can be used"),
    ],
)
def test_a_url_that_cannot_be_used_is_told_without_its_password(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        records_url("storage", url)
    assert "secret" not in str(refused.value)


def test_an_object_store_holds_no_database() -> None:
    with pytest.raises(ConfigError, match="set records=postgresql://"):
        records_url("s3://bucket/aiplat", None)


def test_a_server_that_does_not_answer_is_told_without_its_password() -> None:
    pytest.importorskip("psycopg", reason="needs the extra postgres")
    url = "postgresql://me:secret@127.0.0.1:1/name?password=hidden"
    with pytest.raises(RecordsError, match=r"me:\*\*\*@127.0.0.1:1/name, cannot be asked") as told:
        open_records(url)
    assert "secret" not in str(told.value)
    assert "hidden" not in str(told.value)


def test_where_there_must_be_a_file_none_is_made(tmp_path: Path) -> None:
    url = records_url(str(tmp_path / "storage"), None)
    with pytest.raises(RecordsError, match="several machines needs records=postgresql://"):
        open_records(url, create=False)
    assert not (tmp_path / "storage").exists()


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    (tmp_path / "records.db").write_text("this is not a database, but it is long enough\n" * 9)
    with pytest.raises(RecordsError, match="file is not a database"):
        open_records(records_url(str(tmp_path), None))


def test_a_database_of_a_newer_aiplat_is_not_touched(url: str) -> None:
    records = open_records(url)
    with records.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    records.close()
    with pytest.raises(RecordsError, match="is of a newer aiplat"):
        open_records(url)
