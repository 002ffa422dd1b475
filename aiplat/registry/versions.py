"""Model versions: how they are referred to, and how their files come to this machine."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aiplat.errors import RegistryError
from aiplat.registry.folder import VERSION, ModelFolder
from aiplat.store import files
from aiplat.store.mlflow import open_client

_REFERENCE = re.compile(r"(?P<name>[\w][\w.-]*)(?:@(?P<alias>[\w-]+)|:(?P<version>\d+))?")
# Schemes that only MLflow knows how to read.
_OF_MLFLOW = ("mlflow-artifacts:", "runs:", "models:", "dbfs:")


@dataclass(frozen=True)
class Reference:
    """A model version as people write it: `clip@champion`, `clip:3`, or `clip` alone."""

    name: str
    alias: str | None = None
    version: int | None = None


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model; its files are those of a `ModelFolder`.

    uri: where the files are. tracking_uri: the MLflow server or database that knows the version.
    run_id: the tracking run that made it.
    """

    name: str
    version: int
    aliases: tuple[str, ...]
    uri: str
    tracking_uri: str
    run_id: str
    dataset: str
    weights_sha256: str

    @property
    def id(self) -> str:
        """How people and records name it: `name:version`."""
        return f"{self.name}:{self.version}"


def parse_reference(text: str) -> Reference:
    """Read `name@alias`, `name:version` or `name`. Raises RegistryError."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise RegistryError(
            f"{text!r} is no reference to a model: write name@alias (clip@champion), name:version "
            "(clip:3), or the name alone for its champion"
        )
    version = match["version"]
    return Reference(match["name"], match["alias"], int(version) if version else None)


def fetch(version: ModelVersion) -> ModelFolder:
    """The files of a model version on this machine; remote ones are downloaded once.

    Raises RegistryError where they are missing or not those that were registered.
    """
    if not _needs_download(version.uri):
        folder = Path(files.absolute(version.uri))
        if not (folder / VERSION).is_file():
            raise RegistryError(
                f"the files of model version {version.id} are gone from {folder}: "
                "register the run anew, or restore them"
            )
        return ModelFolder.open(folder)
    folder = cache_folder(version)
    if not (folder / VERSION).is_file():
        with files.draft_folder(str(folder), VERSION) as draft:
            _download(version, draft)
            _check_weights(version, ModelFolder.open(Path(draft)))
    return ModelFolder.open(folder)


def is_of_mlflow(uri: str) -> bool:
    """Whether only MLflow knows how to read the URI."""
    return uri.startswith(_OF_MLFLOW)


def _needs_download(uri: str) -> bool:
    return files.is_remote(uri) or is_of_mlflow(uri)


def cache_folder(version: ModelVersion) -> Path:
    """Where the files of a version that is not on this machine are kept here."""
    key = hashlib.sha256(f"{version.uri}\n{version.weights_sha256}".encode()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "aiplat" / "models" / f"{version.name}-{version.version}-{key}"


def _download(version: ModelVersion, target: str) -> None:
    try:
        if not is_of_mlflow(version.uri):
            files.copy_folder(version.uri, target)
            return
        open_client(version.tracking_uri)
        from mlflow.artifacts import download_artifacts

        # Some of MLflow's stores put the files into the folder they are given, some into one below.
        with tempfile.TemporaryDirectory() as scratch:
            found = download_artifacts(
                version.uri, dst_path=scratch, tracking_uri=version.tracking_uri
            )
            files.copy_folder(found, target)
    except OSError as error:
        raise RegistryError(
            f"the files of model version {version.id} cannot be read from {version.uri}: {error}"
        ) from error


def _check_weights(version: ModelVersion, folder: ModelFolder) -> None:
    found = files.file_hash(folder.weights)
    if version.weights_sha256 and found != version.weights_sha256:
        raise RegistryError(
            f"{version.uri} does not hold the weights that were registered as {version.id} "
            f"(SHA-256 {found[:12]}, expected {version.weights_sha256[:12]}): register the run anew"
        )
