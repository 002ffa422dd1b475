"""What travels with a job: what git tracks, as it is now."""

import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from aiplat.cluster.submission.package import check_size, everything, left_behind, pack, tracked
from aiplat.errors import ConfigError


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    (folder / "docs").mkdir(parents=True)
    for name, text in {
        "job.py": "print(1)\n",
        "gone.py": "",
        "docs/page.md": "# Page\n",
        ".gitignore": "*.log\n",
        ".rayignore": "docs/\n",
        "kept.log": "ignored, but tracked\n",
    }.items():
        (folder / name).write_text(text)
    git(folder, "init", "-q")
    git(folder, "add", "-f", ".")
    (folder / "job.py").write_text("print(2)\n")
    (folder / "gone.py").unlink()
    (folder / "new.py").write_text("")
    (folder / "run.log").write_text("")
    (folder / "docs/new.md").write_text("")
    return folder


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True)


def test_tracked_files_travel_as_they_are_now(checkout: Path, tmp_path: Path) -> None:
    names = tracked(checkout)
    # Neither what .rayignore names nor what is no longer there; what git tracks is not ignored.
    assert names == [".gitignore", ".rayignore", "job.py", "kept.log"]
    assert left_behind(checkout) == ["new.py"]
    pack(checkout, names, tmp_path / "package.zip")
    with zipfile.ZipFile(tmp_path / "package.zip") as archive:
        assert archive.namelist() == names
        assert archive.read("job.py") == b"print(2)\n"


def test_the_same_files_are_the_same_bytes(checkout: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    pack(checkout, tracked(checkout), first)
    (checkout / "job.py").touch()
    pack(checkout, tracked(checkout), second)
    assert first.read_bytes() == second.read_bytes()


def test_what_arrived_is_packed_again_without_what_running_it_made(tmp_path: Path) -> None:
    (tmp_path / "aiplat/__pycache__").mkdir(parents=True)
    (tmp_path / "aiplat/x.py").write_text("")
    (tmp_path / "aiplat/__pycache__/x.pyc").write_text("")
    assert everything(tmp_path) == ["aiplat/x.py"]


def test_too_large_an_archive_names_its_largest_files(checkout: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(3 << 20)
    (checkout / "weights.bin").write_bytes(noise)
    (checkout / "zeros.bin").write_bytes(bytes(30 << 20))
    archive = tmp_path / "package.zip"
    pack(checkout, ["job.py", "zeros.bin", "weights.bin"], archive)
    check_size(archive, limit_mb=4)
    with pytest.raises(ConfigError) as caught:
        check_size(archive, limit_mb=2)
    assert "has 3.0 MiB compressed, above max_package_mb=2" in str(caught.value)
    assert "the largest files: weights.bin (3.0 MiB), zeros.bin (0.0 MiB)" in str(caught.value)
    assert ".rayignore" in str(caught.value)


def test_without_git_there_is_nothing_to_go_by(tmp_path: Path, checkout: Path) -> None:
    with pytest.raises(ConfigError, match="in no git repository: only what git tracks travels"):
        tracked(tmp_path)
    (checkout / "empty").mkdir()
    with pytest.raises(ConfigError, match="git tracks no file below"):
        tracked(checkout / "empty")
