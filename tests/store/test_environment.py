import platform
import re
import subprocess
from pathlib import Path

import pytest

from aiplat.store import environment as module
from aiplat.store.environment import commit, environment
from aiplat.store.files import file_hash


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments], check=True, capture_output=True
    )


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "checkout", lambda: tmp_path)
    monkeypatch.delenv("AIPLAT_COMMIT", raising=False)
    return tmp_path


def test_the_commit_is_the_checkouts_and_says_when_files_changed(checkout: Path) -> None:
    git(checkout, "init", "-q")
    (checkout / "a").write_text("1")
    git(checkout, "add", "a")
    git(checkout, "commit", "-qm", "first")
    clean = commit()
    assert re.fullmatch("[0-9a-f]{40}", clean)
    (checkout / "a").write_text("2")
    assert commit() == f"{clean}-dirty"


def test_without_a_checkout_the_commit_is_what_the_environment_says(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert commit() == "unknown"
    monkeypatch.setenv("AIPLAT_COMMIT", "1234")
    assert commit() == "1234"


def test_the_environment_names_python_the_parts_and_the_lock(checkout: Path) -> None:
    assert "requirements" not in environment()
    (checkout / "requirements.lock").write_text("torch==1")
    found = environment()
    assert found["python"] == platform.python_version()
    assert re.match(r"\d+\.\d+", found["torch"])
    assert found["requirements"] == f"sha256:{file_hash(checkout / 'requirements.lock')}"
