from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from aiplat.config.origins import origin
from tests.config.conftest import write


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    ours, theirs = tmp_path / "conf", tmp_path / "theirs"
    write(ours / "job.yaml", "seed: 1\nloop: {max_epochs: 3}")
    write(ours / "model/small.yaml", "width: 8\nparts: [{depth: 1}]\nopen: ???")
    write(theirs / "exp/mine.yaml", "seed: 2")
    return ours, theirs


PARTS = [("job", ""), ("model/small", "model"), ("exp/mine", ""), ("hydra/output", "hydra")]


def place(path: str, folders: tuple[Path, Path], *overrides: str) -> str:
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    return origin(path, folders, PARTS, parsed)


def test_a_key_is_traced_to_the_file_that_set_it(folders: tuple[Path, Path]) -> None:
    assert place("loop.max_epochs", folders) == "3 in conf/job.yaml"
    assert place("loop", folders) == "set in conf/job.yaml"
    assert place("model.width", folders) == "8 in conf/model/small.yaml"
    assert place("model.parts.0.depth", folders) == "1 in conf/model/small.yaml"
    assert place("model.open", folders) == "left open in conf/model/small.yaml"
    assert place("nowhere", folders) == ""


def test_of_several_files_the_last_one_set_it(folders: tuple[Path, Path]) -> None:
    assert place("seed", folders) == f"2 in {folders[1] / 'exp/mine.yaml'}"


def test_the_command_line_comes_after_all_files(folders: tuple[Path, Path]) -> None:
    assert place("seed", folders, "seed=3") == "seed=3 on the command line"
    assert place("loop", folders, "loop.max_epochs=0") == "loop.max_epochs=0 on the command line"
    assert place("model.width", folders, "model=null") == "model=null on the command line"
    assert place("model.width", folders, "mode=1") == "8 in conf/model/small.yaml"
