"""One process at a time may write a folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from aiplat.errors import ConfigError
from aiplat.store.lock import held

HOLD = (
    "import sys, time\n"
    "from aiplat.store.lock import held\n"
    "with held(sys.argv[1], 'busy'):\n"
    "    print('held', flush=True)\n"
    "    time.sleep(60)\n"
)


def test_a_held_folder_is_refused_until_it_is_let_go(tmp_path: Path) -> None:
    folder = str(tmp_path / "deep" / "run")
    with held(folder, "busy"):
        assert Path(folder).is_dir()
        with pytest.raises(ConfigError, match=r"^another has it$"), held(folder, "another has it"):
            pytest.fail("it was held twice")
    with held(folder, "busy"):
        pass


def test_a_folder_is_let_go_where_the_block_fails(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), held(str(tmp_path), "busy"):
        raise ZeroDivisionError
    with held(str(tmp_path), "busy"):
        pass


def test_two_folders_are_held_beside_each_other(tmp_path: Path) -> None:
    with held(str(tmp_path / "a"), "busy"), held(str(tmp_path / "b"), "busy"):
        assert (tmp_path / "a").is_dir()
        assert (tmp_path / "b").is_dir()


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(ConfigError, match="busy"), held(str(tmp_path), "busy"):
            pytest.fail("two processes held it")
        process.kill()
        process.wait()
    with held(str(tmp_path), "busy"):
        pass


def test_a_remote_folder_has_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with held("s3://bucket/runs/a", "busy"), held("s3://bucket/runs/a", "busy"):
        assert list(tmp_path.iterdir()) == []
