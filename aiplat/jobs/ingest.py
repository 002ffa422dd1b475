"""Make a dataset version out of files, and report what is wrong with them."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from aiplat.config.command import run
from aiplat.config.targets import build
from aiplat.datasets.archives import SUFFIXES, unpacked
from aiplat.datasets.config import IngestOptions
from aiplat.datasets.convert import IngestResult
from aiplat.datasets.report import render
from aiplat.errors import ConfigError
from aiplat.jobs.joining import joined
from aiplat.jobs.schema import IngestConfig


def main(config: IngestConfig) -> None:
    """Check the source's rows, write them as a version and show what was found."""
    console = Console()
    name = config.dataset.name or _name(config.source)
    options = IngestOptions(config.on_error, config.split, config.shard_bytes)
    with unpacked(config.source, config.storage) as node:
        source = build(node)
        with joined(console, config.cluster), _progress(console) as progress:
            from aiplat.cluster.ingest import ingest

            stages = _Stages(progress)
            result = ingest(source, config.storage, name, options, config.source, stages)
    _show(console, result)


def _name(source: dict[str, Any]) -> str:
    """The dataset is called as the file or folder it comes from."""
    path = source.get("path")
    if not path:
        raise ConfigError("dataset.name is needed, for the source has no path to be called by")
    found = Path(path).expanduser().absolute()
    for suffix in SUFFIXES:
        if found.name.lower().endswith(suffix):
            return found.name[: -len(suffix)]
    return found.name if found.is_dir() else found.stem


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeRemainingColumn(), console=console)


class _Stages:
    """A bar for each pass; cluster.ingest.Progress."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.bars: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.bars:
            self.bars[stage] = self.progress.add_task(stage)
        self.progress.update(self.bars[stage], completed=done, total=total)


def _show(console: Console, result: IngestResult) -> None:
    console.print(render(result.report))
    there = " (already there)" if result.already_there else ""
    # Not wrapped: people and scripts copy this line.
    console.print(f"dataset version: {result.version.id}{there}", soft_wrap=True, highlight=False)


if __name__ == "__main__":
    run(main, "ingest", IngestConfig)
