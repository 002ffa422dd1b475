from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.register import main
from aiplat.jobs.schema import RegisterJobConfig
from aiplat.registry.mlflow import Registry
from tests.exported import color_folder
from tests.stores import storage_with_database


@pytest.fixture
def storage(tmp_path: Path) -> str:
    """Two finished runs, and one that is not."""
    root = storage_with_database(tmp_path / "storage")
    for run in ("first", "second"):
        color_folder(Path(root) / "runs" / run / "model")
    (Path(root) / "runs" / "unfinished").mkdir()
    return root


def register(storage: str, *overrides: str) -> int:
    return status(main, "register", RegisterJobConfig, [f"storage={storage}", *overrides])


def test_a_run_becomes_the_champion_of_its_name(
    storage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert register(storage, "run=first", "name=colors") == 0
    assert Registry(storage).resolve("colors@champion").version == 1
    assert "model version: colors:1" in capsys.readouterr().out


def test_without_a_name_the_model_is_called_as_the_run(storage: str) -> None:
    assert register(storage, "run=first", "alias=null") == 0
    assert Registry(storage).resolve("first:1").aliases == ()


def test_an_alias_moves_to_a_version_there_is(storage: str) -> None:
    register(storage, "run=first", "name=colors")
    register(storage, "run=first", "name=others")
    assert register(storage, "model=colors:1", "alias=stable") == 0
    assert Registry(storage).resolve("colors@stable").aliases == ("champion", "stable")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["run=third"], "there is no run 'third' in"),
        (["run=third"], "(there are: first, second, unfinished)"),
        (["run=unfinished"], "run 'unfinished' is not finished"),
        ([], "set one of run"),
        (["run=first", "model=colors:1"], "set one of run"),
        (["model=colors:1", "name=colors"], "only the alias moves"),
        (["model=colors:1"], "there is no model 'colors'"),
        (["run=first", "name=a/b"], "a model's name has letters"),
    ],
)
def test_what_cannot_be_registered_is_said_without_a_traceback(
    storage: str, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert register(storage, *overrides) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
