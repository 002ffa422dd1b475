"""A small folder of configuration in place of ours, for the roots of `parts`."""

from pathlib import Path

import pytest

from aiplat.config import search

_FILES = {
    "job.yaml": """
        # The root of the tests.
        defaults:
          - model: null
          - schedule: null
          - _self_

        data: {name: shapes}
        """,
    "plain.yaml": "seed: 1",
    "model/small.yaml": """
        # A small one.
        _target_: tests.config.parts.Model
        tower: {_target_: tests.config.parts.Tower, width: 8}
        """,
    "exp/good.yaml": """
        # @package _global_
        # What differs, and no more.
        defaults:
          - override /model: small

        name: good
        loop: {max_epochs: 3}
        """,
    "exp/typos.yaml": """
        # @package _global_
        defaults:
          - override /model: small

        name: typos
        loop: {max_epoch: 3}
        model: {tower: {widht: 4}}
        """,
    "exp/astray.yaml": """
        # @package _global_
        defaults:
          - override /model: smal
        """,
    "exp/broken.yaml": "name: [x",
}


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for aiplat's own configuration."""
    folder = tmp_path / "conf"
    for name, text in _FILES.items():
        write(folder / name, text)
    monkeypatch.setattr(search, "conf_dir", lambda: folder)
    return folder


def write(path: Path, text: str) -> None:
    """Write a YAML file, the indentation of its first line taken off every line."""
    lines = text.strip("\n").splitlines()
    margin = len(lines[0]) - len(lines[0].lstrip())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(line[margin:] for line in lines) + "\n")
