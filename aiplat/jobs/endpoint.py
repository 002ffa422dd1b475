"""What an endpoint serves and with which key it is asked first, as its configuration says."""

from aiplat.errors import ConfigError
from aiplat.jobs.schema import ServeConfig
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion
from aiplat.serving.guide import Credential
from aiplat.serving.metering.books import BooksPlace, books_place
from aiplat.store import files
from aiplat.store.records import open_records


def models_of(config: ServeConfig) -> dict[str, ModelVersion]:
    """Name -> the version to serve under it; none where the endpoint is to be taken down."""
    if config.serve.down:
        return {}
    if not config.models:
        raise ConfigError("models is empty: name what to serve, as in models=[clip@champion]")
    registry = Registry(files.absolute(config.storage), config.tracking.get("uri"))
    models: dict[str, ModelVersion] = {}
    for version in map(registry.resolve, config.models):
        if version.name in models:
            raise ConfigError(f"models names {version.name!r} twice: serve one version of a model")
        models[version.name] = version
    return models


def books_of(config: ServeConfig) -> BooksPlace:
    """Where keys and usage are kept; the database is there and up to date.

    Raises ConfigError or RecordsError.
    """
    place = books_place(files.absolute(config.storage), config.records)
    if not config.serve.down:
        open_records(place.records).close()
    return place


def credential_of(config: ServeConfig, books: BooksPlace) -> Credential | None:
    """What requests are to send: a key made now where none is usable yet; None: nothing."""
    if config.serve.down or not config.serve.auth:
        return None
    from aiplat.serving.keys.store import KeyStore

    opened = open_records(books.records)
    try:
        return Credential(KeyStore(opened).create_first())
    finally:
        opened.close()
