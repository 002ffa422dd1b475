"""What an ingest found: counts, problems and where things are, as JSON and as a table to print."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from aiplat.datasets.source import ERROR, Problem

_EXAMPLES = 3
_CLASSES = 20
_BAR_WIDTH = 24


@dataclass(frozen=True)
class Report:
    """The outcome of one ingest.

    version: None where the set was refused.
    counts: rows of each class in each split; splits without rows are left out.
    """

    dataset: str
    version: str | None
    num_seen: int
    num_skipped: int
    rows: dict[str, int] = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: Sequence[Problem] = ()

    def to_json(self) -> dict[str, Any]:
        """All of it, each problem with its file and row."""
        return {
            "dataset": self.dataset,
            "version": self.version,
            "num_seen": self.num_seen,
            "num_skipped": self.num_skipped,
            "rows": self.rows,
            "counts": self.counts,
            "problem_counts": dict(Counter(problem.kind for problem in self.problems)),
            "problems": [asdict(problem) for problem in self.problems],
        }


def render(report: Report) -> RenderableType:
    """The report for a terminal: splits and classes, then problems by kind with some examples."""
    parts: list[RenderableType] = [_split_table(report)]
    if any(report.counts.values()):
        parts.append(_class_table(report))
    if report.problems:
        parts.append(_problem_table(report.problems))
    skipped = f", {report.num_skipped} skipped" if report.num_skipped else ""
    parts.append(Text(f"{report.num_seen} rows seen{skipped}, {len(report.problems)} problems"))
    return Group(*parts)


def _split_table(report: Report) -> Table:
    table = Table(title=Text(f"dataset {report.dataset}"), title_justify="left")
    table.add_column("split")
    table.add_column("rows", justify="right")
    for split, num_rows in report.rows.items():
        table.add_row(split, str(num_rows))
    return table


def _class_table(report: Report) -> Table:
    table = Table()
    table.add_column("class")
    for split in report.counts:
        table.add_column(split, justify="right")
    table.add_column("share")
    labels = list(next(iter(report.counts.values())))
    totals = {label: sum(count[label] for count in report.counts.values()) for label in labels}
    most = max(totals.values())
    for label in labels[:_CLASSES]:
        numbers = [str(count[label]) for count in report.counts.values()]
        bar = "█" * round(_BAR_WIDTH * totals[label] / max(most, 1))
        table.add_row(Text(label), *numbers, bar)
    if len(labels) > _CLASSES:
        table.add_row(f"and {len(labels) - _CLASSES} more")
    return table


def _problem_table(problems: Sequence[Problem]) -> Table:
    table = Table()
    table.add_column("problem")
    table.add_column("count", justify="right")
    table.add_column("for example", overflow="fold")
    kinds: dict[tuple[str, str], list[Problem]] = {}
    for problem in problems:
        kinds.setdefault((problem.severity, problem.kind), []).append(problem)
    for (severity, kind), found in sorted(kinds.items()):
        examples = "\n".join(f"{problem.origin}: {problem.detail}" for problem in found[:_EXAMPLES])
        style = "red" if severity == ERROR else "yellow"
        # Text, not markup: file names may hold brackets.
        table.add_row(Text(f"{severity}: {kind}", style), str(len(found)), Text(examples))
    return table
