"""Storage folders that have an MLflow database: creating one takes seconds, copying none."""

import tempfile
from functools import cache
from pathlib import Path

from aiplat.store.mlflow import open_client, tracking_uri


def storage_with_database(folder: Path) -> str:
    """A storage root at `folder`, its tracking database migrated and empty."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mlflow.db").write_bytes(_migrated())
    return str(folder)


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        open_client(tracking_uri(folder, None))
        return (Path(folder) / "mlflow.db").read_bytes()
