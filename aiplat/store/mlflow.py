"""The MLflow server or database that belongs to a storage root, and a client for it.

Importing MLflow and creating its database take seconds each, so both wait for `open_client`; this
module itself imports in no time.
"""

import logging
import os
import urllib.error
import urllib.request
import warnings
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiplat.errors import ConfigError
from aiplat.store import files

_SERVER_TIMEOUT_S = 10
# What MLflow prints would tear the console of a job.
_SETTINGS = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def tracking_uri(storage: str, uri: str | None) -> str:
    """`uri` itself, or the SQLite database under `storage` where it is null."""
    if uri:
        return uri
    if files.is_remote(storage):
        raise ConfigError(
            f"tracking.uri is null, and the object store {storage} cannot hold a database: set "
            "tracking.uri to an MLflow server (http://...) or a database (postgresql://...)"
        )
    return f"sqlite:///{files.absolute(storage)}/mlflow.db"


def is_server(uri: str) -> bool:
    """Whether MLflow is reached over HTTP; it then decides where files go."""
    return urlsplit(uri).scheme in ("http", "https")


def database_file(uri: str) -> Path | None:
    """The file of an SQLite database; None for every other server or database."""
    return Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None


def artifact_location(storage: str, uri: str, experiment: str) -> str | None:
    """Where an experiment's files go; None where the server decides."""
    if is_server(uri):
        return None
    return files.join(files.absolute(storage), "mlartifacts", experiment)


def open_client(uri: str) -> Any:
    """An `MlflowClient`; creates or migrates the database. Takes 4 to 20 s the first time."""
    _check_server(uri)
    if (path := database_file(uri)) is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
    os.environ |= _SETTINGS
    # MLflow's own models use what SQLAlchemy 2.1 deprecates; nobody here can act on it.
    warnings.filterwarnings("ignore", message="The ``noload`` loader strategy")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        raise ConfigError(f"tracking.uri={uri}: cannot be opened: {error}") from error


def experiment_id(client: Any, storage: str, uri: str, experiment: str) -> str:
    """The id of the experiment, which is created where it does not exist yet."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(experiment)
    if found is None:
        try:
            location = artifact_location(storage, uri, experiment)
            return str(client.create_experiment(experiment, artifact_location=location))
        except MlflowException:
            # Another run created it in between; anything else stays unfound and is raised.
            found = client.get_experiment_by_name(experiment)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise ConfigError(
            f"tracking.experiment={experiment} was deleted in {uri}: restore it there "
            f"('mlflow experiments restore -x {found.experiment_id}') or choose another name"
        )
    return str(found.experiment_id)


def _check_server(uri: str) -> None:
    """MLflow itself would try an address that does not answer for minutes."""
    if not is_server(uri):
        return
    try:
        urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=_SERVER_TIMEOUT_S).close()  # noqa: S310
    except urllib.error.HTTPError as error:
        # It answers; whether it lets us in is found out by the first call.
        error.close()
    except OSError as error:
        raise ConfigError(
            f"tracking.uri={uri}: no MLflow server answers there ({error}); start one with "
            "'mlflow server', or leave tracking.uri null for a database under storage"
        ) from error
