"""Files beside a model version that were made later: they come and go, the version stays.

They lie next to the folder of the version, in the artifacts of the same tracking run.
"""

import tempfile
from pathlib import Path
from typing import Any

from aiplat.registry.versions import ModelVersion, cache_folder, is_of_mlflow
from aiplat.store import files
from aiplat.store.mlflow import open_client


def attach(version: ModelVersion, name: str, folder: Path) -> None:
    """Put the files of a local folder at `name` (`engines/ab12`), over those of equal names."""
    if is_of_mlflow(version.uri):
        client = open_client(version.tracking_uri)
        client.log_artifacts(version.run_id, str(folder), name)
    else:
        files.copy_folder(str(folder), _uri(version, name))


def attach_json(version: ModelVersion, name: str, value: dict[str, Any]) -> None:
    """Write an attached JSON file, whole or not at all."""
    if is_of_mlflow(version.uri):
        open_client(version.tracking_uri).log_dict(version.run_id, value, name)
    else:
        files.write_json(_uri(version, name), value)


def read_attachment(version: ModelVersion, name: str) -> Any:
    """The value of an attached JSON file; None where there is none."""
    if not is_of_mlflow(version.uri):
        uri = _uri(version, name)
        return files.read_json(uri) if files.exists(uri) else None
    client = open_client(version.tracking_uri)
    listed = client.list_artifacts(version.run_id, name.rpartition("/")[0])
    if name not in [entry.path for entry in listed]:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return files.read_json(client.download_artifacts(version.run_id, name, scratch))


def fetch_attachment(version: ModelVersion, name: str, marker: str) -> Path:
    """An attached folder on this machine; a remote one is downloaded once.

    marker: the file in it without which it is not complete.
    """
    if not files.is_remote(version.uri) and not is_of_mlflow(version.uri):
        return Path(files.absolute(_uri(version, name)))
    versions = cache_folder(version)
    kept = versions.with_name(f"{versions.name}-attached") / name
    if not (kept / marker).is_file():
        with files.draft_folder(str(kept), marker) as draft:
            _download(version, name, draft)
    return kept


def _download(version: ModelVersion, name: str, target: str) -> None:
    if not is_of_mlflow(version.uri):
        files.copy_folder(_uri(version, name), target)
        return
    client = open_client(version.tracking_uri)
    with tempfile.TemporaryDirectory() as scratch:
        files.copy_folder(client.download_artifacts(version.run_id, name, scratch), target)


def _uri(version: ModelVersion, name: str) -> str:
    return files.join(version.uri.rstrip("/").rpartition("/")[0], name)
