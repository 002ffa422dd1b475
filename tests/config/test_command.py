"""A job for the tests of how jobs start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.config.compose import compose
from aiplat.config.search import conf_dir
from aiplat.errors import DataError
from tests.config.parts import Root

seen: list[Root] = []


def main(config: Root) -> None:
    seen.append(config)


def fail(config: Root) -> None:
    raise DataError(f"dataset {config.data.name!r} has no rows")


def interrupt(config: Root) -> None:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("conf")
def test_a_job_gets_its_configuration() -> None:
    seen.clear()
    assert status(main, "job", Root, ["+exp=good", "seed=3"]) == 0
    assert [config.seed for config in seen] == [3]


@pytest.mark.usefixtures("conf")
def test_a_fault_is_told_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(fail, "job", Root, ["+exp=good"]) == 2
    assert status(main, "job", Root, ["+exp=good", "sede=3"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("dataset 'shapes' has no rows\n")
    assert "did you mean 'seed'?" in told.err
    assert "Traceback" not in told.err


@pytest.mark.usefixtures("conf")
def test_an_interrupted_job_says_so() -> None:
    assert status(interrupt, "job", Root, ["+exp=good"]) == 130


@pytest.mark.usefixtures("conf")
def test_the_configuration_that_is_printed_composes_to_itself(
    capsys: pytest.CaptureFixture[str], conf: Path
) -> None:
    assert status(main, "job", Root, ["+exp=good", "--cfg", "job", "seed=3"]) == 0
    (conf / "again.yaml").write_text(capsys.readouterr().out)
    assert compose("again", Root) == compose("job", Root, ["+exp=good", "seed=3"])


@pytest.mark.usefixtures("conf")
def test_help_tells_purpose_choices_and_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(main, "job", Root, ["--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith("A job for the tests of how jobs start.\n")
    assert "Add with +exp=<name>:\n" in told
    assert "  good\n      What differs, and no more.\n" in told
    assert "Choose with model=<name>:\n  small\n      A small one.\n" in told
    assert "  loop.max_epochs = 10  (int)\n      passes over the data, counted from one.\n" in told
    assert "  data.name = required  (str)\n" in told


def test_a_typo_fails_from_anywhere_without_importing_torch(tmp_path: Path) -> None:
    """`Shows 8` in little: the real root file, from a folder that is not the repository."""
    program = (
        "import sys\n"
        "from aiplat.config.command import status\n"
        "from aiplat.jobs.schema import TrainConfig\n"
        "code = status(print, 'train', TrainConfig, ['loop.max_epoch=3'])\n"
        "heavy = {'torch', 'ray', 'mlflow', 'transformers'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(conf_dir().parent)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert "did you mean 'loop.max_epochs'?" in done.stderr
    assert list(tmp_path.iterdir()) == []
