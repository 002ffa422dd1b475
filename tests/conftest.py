"""For every test: no network telemetry, and no cluster unless the test says so."""

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import hydra
import pytest

from aiplat.config import search

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")

# Begun in the background of a script, this process ignores Ctrl-C, and so would those that tests
# start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def files_merged_once() -> Iterator[None]:
    """Hundreds of tests compose our own files; Hydra takes long to merge the same ones again."""
    merge, merged = hydra.compose, {}

    def merged_once(name: str, choices: list[str]) -> Any:
        # The first of them names the folders of others, whose files a test may change.
        key = (str(search.conf_dir()), name, *choices)
        if "hydra.searchpath=[]" not in choices:
            return merge(name, choices)
        if key not in merged:
            merged[key] = merge(name, choices)
        return merged[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hydra, "compose", merged_once)
        yield


@pytest.fixture(autouse=True, scope="module")
def same_numbers_in_each_module() -> None:
    """What fixtures draw without a seed of their own is the same alone and among others."""
    _seed()


@pytest.fixture(autouse=True)
def same_numbers_in_each_test() -> None:
    """The same for what a test draws."""
    _seed()


@pytest.fixture(autouse=True)
def no_cluster_unmarked(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Ray takes seconds to start: a test that starts it and is not marked `cluster` fails."""
    if request.node.get_closest_marker("cluster"):
        yield
        return

    def refuse(*_args: Any, **_options: Any) -> None:
        raise RuntimeError("this test starts Ray without the marker 'cluster'")

    before = _is_running()
    if "ray" in sys.modules:
        monkeypatch.setattr(sys.modules["ray"], "init", refuse)
    yield
    # A test that was the first to import Ray got past the refusal.
    if not before and _is_running():
        sys.modules["ray"].shutdown()
        pytest.fail("this test started Ray without the marker 'cluster'")


def _is_running() -> bool:
    return "ray" in sys.modules and bool(sys.modules["ray"].is_initialized())


def _seed() -> None:
    # Not Python's `random`: our search for free ports draws from it, in several processes at once.
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
