from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.schema import ServeConfig
from aiplat.jobs.serve import main
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
        ([], "models is empty"),
        (["models=[colours@champion]"], "did you mean 'colors'?"),
        (["models=[colors@champion,colors:1]"], "names 'colors' twice"),
        (["models=[colors]", "serve.max_rows=0"], "max_rows is 0, expected at least 1"),
        (["models=[colors]", "serve.autoscaling.max_replica=3"], "max_replicas"),
    ],
)
def test_what_cannot_be_served_is_said_before_a_cluster_starts(
    storage: str, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert status(main, "serve", ServeConfig, [f"storage={storage}", *overrides]) == 2
    assert said in capsys.readouterr().err
