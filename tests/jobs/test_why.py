from contextlib import closing
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.serving_schema import WhyConfig
from aiplat.jobs.why import main
from aiplat.registry.mlflow import Registry
from aiplat.serving.metering.books import books_place
from aiplat.serving.metering.ledger import usage_line
from aiplat.serving.metering.usage import UsageRecord
from tests.exported import color_folder
from tests.stores import storage_with_database


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """A model version, and a request that it answered."""
    root = storage_with_database(tmp_path / "storage")
    Registry(root).register(str(color_folder(tmp_path / "colors")), "colors", "champion")
    record = UsageRecord(
        "colors", "0123", at=1_800_000_000, key="k3v0", principal="acme", version="1", status=200
    )
    record.compute_s, record.queue_s, record.total_s = 0.0125, 0.25, 0.5
    with closing(books_place(root, None).open_ledger()) as ledger:
        ledger.take([usage_line(record)])
    return root


def test_an_answer_is_traced_to_its_model_its_data_and_its_key(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(main, "why", WhyConfig, [f"storage={storage}", "prediction=0123"]) == 0
    told = capsys.readouterr().out
    version = Registry(storage).resolve("colors:1")
    for part in (
        *("colors:1", version.dataset, version.weights_sha256, "k3v0 of acme"),
        *("12.50 ms", "250.00 ms", "500.00 ms", "2027-01-15 08:00:00 UTC"),
    ):
        assert part in told


def test_a_prediction_that_nobody_made_is_told(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(main, "why", WhyConfig, [f"storage={storage}", "prediction=4567"]) == 2
    assert "no request is known as prediction=4567" in capsys.readouterr().err
