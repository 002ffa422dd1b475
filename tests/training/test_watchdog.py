"""What surrounds the watching; test_failures.py has processes that hang."""

import tempfile
from pathlib import Path

import pytest

from aiplat.training.local import LocalWorker
from aiplat.training.watchdog import Watchdog
from tests.fakes import TinyTask


def test_a_run_in_an_object_store_leaves_only_its_own_file_behind_and_removes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    worker = LocalWorker({}, TinyTask(), "s3://bucket/runs/a")
    with Watchdog(worker, 60.0) as watchdog:
        (own,) = tmp_path.iterdir()
        assert watchdog.stacks.name == str(own)
        assert watchdog.path.startswith("s3://bucket/runs/a/logs/stacks-")
    assert not list(tmp_path.iterdir())


def test_nothing_is_watched_where_nothing_is_asked_for(tmp_path: Path) -> None:
    with Watchdog(LocalWorker({}, TinyTask(), str(tmp_path)), None):
        assert not list(tmp_path.iterdir())
