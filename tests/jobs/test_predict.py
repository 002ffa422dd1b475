from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.predict import main
from aiplat.jobs.schema import PredictConfig
from aiplat.registry.mlflow import Registry
from tests.exported import color_folder
from tests.stores import storage_with_database


@pytest.fixture
def storage(tmp_path: Path) -> str:
    root = storage_with_database(tmp_path / "storage")
    Registry(root).register(str(color_folder(tmp_path / "colors")), "colors", "champion")
    return root


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=colors"], "set one of input.dataset"),
        (["model=colors", "input.path=x", "input.dataset=y"], "set one of input.dataset"),
        (["model=colours@champion", "input.path=x"], "did you mean 'colors'?"),
        (
            ["model=colors@champion", "input.path={}/nowhere"],
            "input.path={}/nowhere does not exist",
        ),
        (["model=colors", "input.dataset=shapes@12"], "there is no dataset 'shapes'"),
        (["model=colors", "input.path=x", "output={}"], "output={} exists already"),
        (
            ["model=colors", "input.path=x", "inference.precision=fp8"],
            "precision is 'fp8'",
        ),
    ],
)
def test_what_cannot_be_answered_is_said_before_a_cluster_starts(
    storage: str, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    arguments = [f"storage={storage}", *(item.format(storage) for item in overrides)]
    assert status(main, "predict", PredictConfig, arguments) == 2
    assert said.format(storage) in capsys.readouterr().err
