"""Where studies are kept: the folder of a study, and its database."""

from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy import event

from aiplat.errors import ConfigError
from aiplat.store import files

DATABASE = "study.db"
_JOURNAL = "journal:///"
# Several processes of one machine may read it while one writes.
_PATIENCE_S = 60


def study_folder(storage: str, name: str) -> str:
    """Where a study lies under `storage`."""
    return files.join(files.absolute(storage), "studies", name)


def database_url(folder: str, url: str | None) -> str:
    """The URL of the study's database, as `optuna-dashboard` takes it.

    Raises ConfigError where the study's folder cannot hold one and none is named.
    """
    if url is not None:
        return url
    if files.is_remote(folder):
        raise ConfigError(
            f"tuning.storage is null, but a database cannot lie in {folder}: set it to a "
            "postgresql:// or mysql:// URL, or to a journal:/// file that every driver can reach"
        )
    return f"sqlite:///{Path(folder) / DATABASE}"


def open_database(url: str) -> BaseStorage:
    """Connect to the database, and make its tables where there are none. Raises ConfigError."""
    if url.startswith(_JOURNAL):
        path = Path("/" + url.removeprefix(_JOURNAL).lstrip("/"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(path)))
        except OSError as error:
            raise ConfigError(f"tuning.storage: cannot use {url}: {error}") from error
    is_sqlite = url.startswith("sqlite:")
    engine = {"connect_args": {"timeout": _PATIENCE_S}} if is_sqlite else {"pool_pre_ping": True}
    try:
        storage = RDBStorage(url, engine_kwargs=engine)
        if is_sqlite:
            _spare_disk(storage)
        return storage
    except ImportError as error:
        raise ConfigError(
            f"tuning.storage: {_without_password(url)} needs a driver: {error}; install one, such "
            "as aiplat[postgres] for postgresql:// or pymysql for mysql+pymysql://"
        ) from error
    except Exception as error:
        # SQLAlchemy has its own errors for each way in which a database does not answer.
        if (
            isinstance(error, optuna.exceptions.OptunaError)
            or "sqlalchemy" in type(error).__module__
        ):
            raise ConfigError(
                f"tuning.storage: cannot use {_without_password(url)}: {error}"
            ) from error
        raise


def _spare_disk(storage: RDBStorage) -> None:
    """Wait for the disk seldom: what a killed process had written is kept all the same."""

    def settle(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA journal_mode=WAL")

    event.listen(storage.engine, "connect", settle)
    storage.engine.dispose()


def _without_password(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}"
