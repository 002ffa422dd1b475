"""A job for the tests of how jobs start."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiplat.config.command import Recompose, run_varied, status
from aiplat.config.compose import compose
from aiplat.config.search import conf_dir
from aiplat.errors import DataError
from aiplat.jobs.schema import TrainConfig
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


@pytest.mark.usefixtures("conf")
def test_a_job_that_varies_composes_with_other_values(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[Root] = []

    def vary(config: Root, recompose: Recompose[Root]) -> None:
        found.append(config)
        found.append(recompose({"seed": 5, "name": "a, b"}))
        found.append(recompose({"loop.max_epochs": 7, "model.tower.width": 16}))

    given = ["job", "+exp=good", "seed=3", "++name=mine", "loop.clip_norm=2"]
    monkeypatch.setattr(sys, "argv", given)
    with pytest.raises(SystemExit) as ended:
        run_varied(vary, "job", Root)
    assert ended.value.code == 0
    assert [(config.seed, config.name) for config in found] == [
        (3, "mine"),
        (5, "a, b"),
        (3, "mine"),
    ]
    assert [config.loop.max_epochs for config in found] == [3, 3, 7]
    assert found[2].model["tower"]["width"] == 16
    assert all(config.loop.clip_norm == 2.0 for config in found)


@pytest.mark.usefixtures("conf")
def test_a_job_that_varies_tells_faults_and_help_as_any_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def vary(config: Root, recompose: Recompose[Root]) -> None:
        """Try it twice."""
        recompose({"sede": 3})

    for arguments, code in ((["+exp=good"], 2), (["--help"], 0)):
        monkeypatch.setattr(sys, "argv", ["job", *arguments])
        with pytest.raises(SystemExit) as ended:
            run_varied(vary, "job", Root)
        assert ended.value.code == code
    told = capsys.readouterr()
    assert "did you mean 'seed'?" in told.err
    assert "Add with +exp=<name>:" in told.out


def search_instead_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    """The configuration of the search that a job names in place of several runs of it."""
    assert status(main, "train", TrainConfig, arguments) == 2  # type: ignore[arg-type]
    told = capsys.readouterr().err
    assert told.startswith("--multirun: a job runs one configuration; a search runs several")
    command = shlex.split(told.splitlines()[1])
    assert command[:3] == ["python", "-m", "aiplat.jobs.tune"]
    return compose("tune", TrainConfig, command[3:])


@pytest.mark.parametrize("flag", ["--multirun", "-m"])
def test_several_runs_are_a_search(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    config = search_instead_of(
        capsys, flag, "+exp=clip", "optim.lr=0.1,1e-2", "seed=3", "optim=adamw,sgd"
    )
    assert (config.name, config.seed, config.tuning.sampler) == ("clip", 3, "grid")
    assert config.tuning.space == {
        "optim.lr": {"choice": [0.1, 0.01]},
        "optim": {"choice": ["adamw", "sgd"]},
    }


def test_texts_with_spaces_and_quotes_survive_the_shell(capsys: pytest.CaptureFixture[str]) -> None:
    swept = "task.label.name='a label','b, c'"
    config = search_instead_of(capsys, "-m", "+exp=tabular", "dataset.name='my set'", swept)
    assert config.dataset.name == "my set"
    assert config.tuning.space == {"task.label.name": {"choice": ["a label", "b, c"]}}


@pytest.mark.parametrize(
    ("swept", "expected"), [("seed=choice(1,2,5)", [1, 2, 5]), ("seed=range(1,4)", [1, 2, 3])]
)
def test_sweeps_by_function_are_choices_as_well(
    capsys: pytest.CaptureFixture[str], swept: str, expected: list[int]
) -> None:
    config = search_instead_of(capsys, "-m", "+exp=clip", swept)
    assert config.tuning.space == {"seed": {"choice": expected}}


def test_a_sweep_that_is_none_is_told_without_a_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert status(main, "train", TrainConfig, ["-m", "+exp=clip", "seed"]) == 2  # type: ignore[arg-type]
    assert "expected key=value" in capsys.readouterr().err
