"""The database of keys and usage: opened by URL, brought up to date, asked in transactions.

It knows no table's meaning; `tables.py` lists them.
"""

import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiplat.errors import ConfigError, RecordsError
from aiplat.store import files

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

DATABASE = "records.db"
# How long a writer waits for another one, and anybody for a server that does not answer.
_PATIENCE_S = 30
_CONNECT_S = 5
_MIGRATIONS = Path(__file__).parent / "migrations"
# Any number that no other program locks in the same Postgres database.
_LOCK_NUMBER = 0x61697072
# Alembic keeps what it works on in its module.
_migrating = threading.Lock()


def records_url(storage: str, url: str | None) -> str:
    """`url` itself, or the SQLite database under `storage` where it is null.

    The same from every working directory. Raises ConfigError where it names no database that we
    can use.
    """
    if url is None:
        if files.is_remote(storage):
            raise ConfigError(
                f"records is null, and the object store {storage} cannot hold a database: set "
                "records=postgresql://user:password@host/name"
            )
        return f"sqlite:///{files.absolute(storage)}/{DATABASE}"
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        return f"sqlite:///{files.absolute(parsed.database or '')}"
    return parsed.render_as_string(hide_password=False)


class Records:
    """An open database. Safe in several threads; what it raises is told without passwords."""

    def __init__(self, engine: "Engine") -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._shown = _shown(engine.url)

    @contextmanager
    def reading(self) -> "Iterator[Connection]":
        """One view of the database for the block. Raises RecordsError where it does not answer."""
        with self._explained(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> "Iterator[Connection]":
        """A transaction that is kept where the block ends well. Raises RecordsError.

        SQLite lets one writer in at a time, from the beginning of its block.
        """
        with self._explained(), self._engine.connect() as plain:
            connection = plain.execution_options(aiplat_writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from sqlalchemy import exc

        try:
            yield
        except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError) as error:
            if isinstance(error, exc.IntegrityError | exc.ProgrammingError | exc.DataError):
                raise
            cause = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise RecordsError(
                f"the database of keys and usage, records={self._shown}, cannot be asked: {cause}"
            ) from error


def open_records(url: str, create: bool = True) -> Records:
    """Connect to the database and take the steps that its tables lack, whoever else opens it.

    url: as `records_url` gives it. create: whether an SQLite file may be made. Raises ConfigError
    or RecordsError.
    """
    parsed = _parsed(url)
    if parsed.get_backend_name() == "sqlite":
        path = Path(parsed.database or "")
        if not create and not path.is_file():
            raise RecordsError(
                f"there is no database of keys and usage at {path} on {socket.gethostname()}: a "
                "cluster of several machines needs records=postgresql://user:password@host/name"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecordsError(f"records={_shown(parsed)} cannot be made: {error}") from error
    records = Records(_engine(parsed))
    try:
        _migrate(records)
    except BaseException:
        records.close()
        raise
    return records


def _parsed(url: str) -> "URL":
    from sqlalchemy import exc, make_url

    # All but what may be a password.
    scheme, mark, rest = url.rpartition("://")
    told = f"{scheme}{mark}...{rest.rpartition('@')[2] if '@' in rest else ''}"
    expected = "expected postgresql://user:password@host/name or sqlite:////path/of/a/file.db"
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise ConfigError(f"records={told} is no URL of a database; {expected}") from None
    backend = parsed.get_backend_name()
    if backend in ("postgres", "postgresql"):
        # Which driver the plain name means depends on SQLAlchemy's version.
        return parsed.set(drivername="postgresql+psycopg")
    if backend != "sqlite" or parsed.database in (None, "", ":memory:"):
        raise ConfigError(f"records={told} is no database that can be used here; {expected}")
    return parsed


def _shown(url: "URL") -> str:
    # Options of a URL may hold a password as well.
    return url.set(query={}).render_as_string(hide_password=True)


def _engine(url: "URL") -> "Engine":
    from sqlalchemy import create_engine, event

    if url.get_backend_name() != "sqlite":
        # Without the second one a server that vanished is waited for a quarter of an hour.
        patience = {"connect_timeout": _CONNECT_S, "tcp_user_timeout": 1000 * _PATIENCE_S}
        try:
            return create_engine(url, pool_pre_ping=True, connect_args=patience)
        except ImportError as error:
            raise ConfigError(
                f"records={_shown(url)} needs psycopg: pip install 'aiplat[postgres]'"
            ) from error
    engine = create_engine(url, connect_args={"timeout": _PATIENCE_S})
    event.listen(engine, "connect", _settle)
    event.listen(engine, "begin", _begin)
    return engine


def _settle(connection: Any, _: Any) -> None:
    """Set up a new connection to SQLite."""
    # The driver would begin transactions late, and end them before a table is made.
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys=ON")
    # One may then read while another writes.
    connection.execute("PRAGMA journal_mode=WAL")


def _begin(connection: "Connection") -> None:
    writes = connection.get_execution_options().get("aiplat_writes", False)
    # A transaction that begins to write in its middle fails where another one wrote meanwhile.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(records: Records) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError
    from sqlalchemy import text

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with _migrating, records.writing() as connection:
        if records.dialect == "postgresql":
            # Given back when the transaction ends; SQLite's writers wait for each other anyhow.
            connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": _LOCK_NUMBER})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise RecordsError(
                f"the database of keys and usage is of a newer aiplat ({error}): install that one, "
                "or set records to another database"
            ) from error
