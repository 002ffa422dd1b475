"""Where a study is kept, and what is said where it cannot be."""

import sys
from pathlib import Path

import pytest

from aiplat.errors import ConfigError
from aiplat.tuning.config import TuningConfig
from aiplat.tuning.database import database_url, open_database, study_folder
from aiplat.tuning.space import space_of
from aiplat.tuning.study import Study
from tests.tuning.studies import SPACE, draw, ended, go


def study_in(url: str) -> Study:
    config = TuningConfig(num_trials=4, sampler="random", pruner="none")
    return Study(open_database(url), "colors", ["maximize"], space_of(SPACE), config, seed=1)


def test_a_study_lies_in_a_file_of_its_own_folder(tmp_path: Path) -> None:
    folder = study_folder(str(tmp_path), "colors")
    assert folder == str(tmp_path / "studies" / "colors")
    assert database_url(folder, None) == f"sqlite:///{folder}/study.db"
    assert database_url(folder, "mysql://host/db") == "mysql://host/db"


def test_a_remote_folder_holds_no_database() -> None:
    folder = study_folder("s3://bucket/aiplat", "colors")
    assert folder == "s3://bucket/aiplat/studies/colors"
    with pytest.raises(ConfigError, match=r"a database cannot lie in s3://bucket/aiplat/studies"):
        database_url(folder, None)
    assert database_url(folder, "journal:///shared/log") == "journal:///shared/log"


@pytest.mark.parametrize("scheme", ["sqlite", "journal"])
def test_a_study_survives_being_opened_again(tmp_path: Path, scheme: str) -> None:
    url = f"{scheme}:///{tmp_path}/deep/study" if scheme == "journal" else f"sqlite:///{tmp_path}/a"
    study = study_in(url)
    first, second = draw(study), draw(study)
    study.complete(first.number, ended(0.5))
    again = study_in(url)
    assert again.trials[0].values == [0.5]
    resumed = draw(again)
    assert (resumed.number, resumed.values) == (1, second.values)
    again.complete(1, ended(0.75))
    assert len(go(again)) == 2
    assert [trial.number for trial in study_in(url).trials] == [0, 1, 2, 3]


def test_two_studies_share_a_database(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studies"
    config = TuningConfig(num_trials=2, sampler="random", pruner="none")
    spaces = [space_of(SPACE), space_of({"seed": {"int": [0, 9]}})]
    for name, space in zip(("first", "second"), spaces, strict=True):
        study = Study(open_database(url), name, ["maximize"], space, config, seed=1)
        assert [(trial.number, set(trial.values)) for trial in go(study)] == [
            (number, {parameter.path for parameter in space.parameters}) for number in (0, 1)
        ]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql+nodriver://me:secret@nowhere/db", "cannot use mysql+nodriver://nowhere/db"),
        ("nosuch://me:secret@nowhere/db", "cannot use nosuch://nowhere/db"),
        ("nosuch://me:sec@secret@nowhere/db", "cannot use nosuch://nowhere/db"),
        ("study.db", "cannot use study.db: Could not parse"),
        ("sqlite:////no/such/folder/study.db", "unable to open database file"),
        ("journal:////proc/no/such/log", "/proc/no/such/log"),
    ],
)
def test_a_database_that_cannot_be_used_is_a_fault_that_tells_no_password(
    url: str, said: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        open_database(url)
    message = str(refused.value)
    assert message.startswith("tuning.storage: ")
    assert said in message
    assert "secret" not in message


def test_a_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # As where it is not installed.
    for name in ("psycopg", "psycopg2"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match="postgresql://host/db needs a driver") as refused:
        open_database("postgresql://me:secret@host/db")
    assert "aiplat[postgres]" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("a text, and no database of any kind " * 10)
    with pytest.raises(ConfigError, match="file is not a database"):
        open_database(f"sqlite:///{tmp_path}/study.db")
