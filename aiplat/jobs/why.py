"""Show where one answer of the endpoint came from: model, data, key, and what took how long."""

from contextlib import closing
from datetime import UTC, datetime

from rich.console import Console

from aiplat.config import command
from aiplat.errors import AiplatError
from aiplat.jobs.serving_schema import WhyConfig
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import fetch
from aiplat.store import files


def main(config: WhyConfig) -> None:
    """Find the request's usage record and the model version that answered it."""
    from aiplat.serving.metering.books import books_place, settle

    storage = files.absolute(config.storage)
    place = books_place(storage, config.records)
    with closing(place.open_ledger()) as ledger:
        settle(place.folder, ledger)
        record = ledger.find(config.prediction)
    if record is None:
        raise AiplatError(
            f"no request is known as prediction={config.prediction}: give the id that the answer "
            "has as prediction_id; that of an answer of just now is known after a few seconds"
        )
    version = Registry(storage, config.tracking.get("uri")).resolve(
        f"{record.endpoint}:{record.version}"
    )
    folder = fetch(version)
    told = {
        "prediction": record.prediction_id,
        "answered at": f"{datetime.fromtimestamp(record.at, UTC):%Y-%m-%d %H:%M:%S} UTC",
        "status": str(record.status),
        "key": f"{record.key} of {record.principal}" if record.key else "none was asked for",
        "model version": version.id,
        "dataset version": folder.dataset,
        "weights": f"sha256 {version.weights_sha256}",
        "preprocessing": f"sha256 {folder.preprocessing_sha256}",
        "rows": str(record.rows),
        "bytes": f"{record.bytes_in} in, {record.bytes_out} out",
        "replica": record.replica or "none answered",
        "whole request": _milliseconds(record.total_s),
        "on the model's replica": _milliseconds(record.model_s),
        "before the model's pass": _milliseconds(record.queue_s),
        "its share of the pass": _milliseconds(record.compute_s),
    }
    # Not in a table, which would break the hashes.
    console = Console(highlight=False, soft_wrap=True)
    for name, value in told.items():
        console.print(f"{name:<24} {value}", markup=False)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.2f} ms"


if __name__ == "__main__":
    command.run(main, "why", WhyConfig)
