"""From a source to a dataset version, in two passes over its blocks: inspect, then write.

Both passes are pure functions mapped over a list by a Runner, so the same code runs in this process
or on a cluster and makes the same version.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from aiplat.datasets import catalog, writing
from aiplat.datasets.checks import Selection, select
from aiplat.datasets.config import IngestOptions, checked_name
from aiplat.datasets.digests import version_hash
from aiplat.datasets.inspection import INSPECTED, Inspect, inspect
from aiplat.datasets.report import Report
from aiplat.datasets.source import Block, Source
from aiplat.datasets.statistics import Statistics, described
from aiplat.datasets.versions import (
    MANIFEST,
    ROW_ID,
    Column,
    DatasetInfo,
    DatasetVersion,
    Shard,
    folder,
    read_version,
)
from aiplat.datasets.writing import WriteShard
from aiplat.errors import DataError
from aiplat.store import files

REPORT = "report.json"
_LISTED = 10

Item = TypeVar("Item")
Result = TypeVar("Result")


class Runner(Protocol):
    """Applies a function to every item, here or elsewhere, and names the pass for a display."""

    def __call__(
        self, stage: str, function: Callable[[Item], Result], items: Sequence[Item], /
    ) -> Iterator[tuple[int, Result]]:
        """Yield each result with the index of its item, in any order."""
        ...


def in_process(
    _stage: str, function: Callable[[Item], Result], items: Sequence[Item], /
) -> Iterator[tuple[int, Result]]:
    """The Runner that needs no cluster: a loop."""
    return enumerate(map(function, items))


@dataclass(frozen=True)
class IngestResult:
    """The version, and whether the same rows had been ingested under this name before."""

    version: DatasetVersion
    report: Report
    already_there: bool


def ingest(
    source: Source,
    storage: str,
    name: str,
    options: IngestOptions,
    run: Runner = in_process,
    origin: dict[str, Any] | None = None,
) -> IngestResult:
    """Make the next dataset version of `name` from `source`, or find that it exists.

    `origin` describes the source in the manifest; by default it is the source's own arguments.
    Raises DataError, and leaves nothing but a report, where the checks refuse the rows.
    """
    uri = folder(files.absolute(storage), checked_name(name))
    _check_columns(source.columns)
    blocks = source.blocks()
    inspected = _inspect_all(run, blocks, source.columns)
    selection = select(inspected, source.labels, options.split, source.findings())
    _refuse_errors(selection, name, uri, options.on_error)

    version = version_hash(source.columns, selection.labels, _digests(inspected, selection))
    target = files.join(uri, version)
    already_there = files.exists(files.join(target, MANIFEST))
    report = _report(selection, name, version)
    if not already_there:
        with files.draft_folder(target, MANIFEST) as draft:
            layout = writing.Layout(draft, source.columns, selection.labels, options.shard_bytes)
            work = writing.plan(layout, blocks, inspected, selection)
            splits, statistics = _write_all(run, work)
            dataset = DatasetVersion(
                name=name,
                version=version,
                uri=target,
                info=DatasetInfo(described(source.columns, statistics), selection.labels),
                splits=splits,
                conversion=_conversion(origin or _arguments(source), options),
                num_skipped=report.num_skipped,
            )
            files.write_json(files.join(draft, REPORT), report.to_json())
            files.write_json(files.join(draft, MANIFEST), dataset.to_json())
    files.write_json(files.join(uri, REPORT), report.to_json())
    catalog.set_latest(files.absolute(storage), name, version)
    return IngestResult(read_version(target), report, already_there)


def _check_columns(columns: Sequence[Column]) -> None:
    names = [column.name for column in columns]
    kinds = [column.kind for column in columns]
    if ROW_ID in names or len(set(names)) < len(names):
        listed = ", ".join(names)
        raise DataError(
            f"the columns must have distinct names other than {ROW_ID}, got: {listed};"
            " leave some out by source.fields or rename them"
        )
    if kinds.count("label") > 1 or not set(kinds) - {"label"}:
        listed = ", ".join(f"{column.name} ({column.kind})" for column in columns) or "none"
        raise DataError(f"a dataset has inputs and at most one label, got columns: {listed}")


def _inspect_all(run: Runner, blocks: Sequence[Block], columns: tuple[Column, ...]) -> pa.Table:
    work = [Inspect(index, block, columns) for index, block in enumerate(blocks)]
    tables = dict(run("inspect", inspect, work))
    return pa.concat_tables([INSPECTED.empty_table(), *(tables[index] for index in sorted(tables))])


def _digests(inspected: pa.Table, selection: Selection) -> dict[str, bytes]:
    digests: list[Any] = inspected.column("digest").to_pylist()
    return {
        split: b"".join(digests[position] for position in positions)
        for split, positions in selection.rows.items()
    }


def _write_all(
    run: Runner, work: Sequence[WriteShard]
) -> tuple[dict[str, tuple[Shard, ...]], Statistics]:
    results = dict(run("write", writing.write, work))
    splits: dict[str, tuple[Shard, ...]] = {}
    statistics = Statistics()
    for index in sorted(results):
        written = results[index]
        splits[written.split] = (*splits.get(written.split, ()), written.shard)
        statistics = statistics.merged(written.statistics)
    return splits, statistics


def _refuse_errors(selection: Selection, name: str, uri: str, on_error: str) -> None:
    errors = selection.errors
    if "train" in selection.rows and (not errors or on_error == "skip"):
        return
    path = files.join(uri, REPORT)
    files.write_json(path, _report(selection, name, None).to_json())
    lines = [f"  {error.origin}: {error.kind}: {error.detail}" for error in errors[:_LISTED]]
    if len(errors) > _LISTED:
        lines.append(f"  and {len(errors) - _LISTED} more")
    advice = "mend them, or set on_error=skip to leave these rows out"
    if "train" not in selection.rows:
        advice = "no row is left to train on"
    raise DataError(
        f"dataset {name} was not made, for {len(errors)} errors:\n"
        + "\n".join(lines)
        + f"\nThe whole report is {path}; {advice}."
    )


def _report(selection: Selection, name: str, version: str | None) -> Report:
    return Report(
        dataset=name,
        version=version,
        num_seen=selection.num_seen,
        num_skipped=selection.num_seen - selection.num_rows,
        rows={split: len(rows) for split, rows in selection.rows.items()},
        counts=selection.counts,
        problems=selection.problems,
    )


def _conversion(origin: dict[str, Any], options: IngestOptions) -> dict[str, Any]:
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {"source": origin, **asdict(options), "created": created}


def _arguments(source: Source) -> dict[str, Any]:
    declared: dict[str, Field[Any]] = getattr(source, "__dataclass_fields__", {})
    arguments = {name: getattr(source, name) for name, field in declared.items() if field.init}
    return {"_target_": f"{type(source).__module__}.{type(source).__qualname__}", **arguments}
