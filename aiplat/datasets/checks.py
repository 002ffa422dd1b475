"""The checks that need all rows at once: splits, vocabulary, duplicates, empty classes.

They see only hashes, labels and origins, and decide which rows a version may hold.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from aiplat.datasets.config import SplitConfig
from aiplat.datasets.source import ERROR, WARNING, Problem
from aiplat.datasets.splits import assign
from aiplat.datasets.versions import SPLITS

_EXAMPLES = 3
_WHOLE = re.compile(r"-?\d+")
# Of a row that stands in several splits the copy that is measured on stays.
_PRECEDENCE = {"test": 0, "val": 1, "train": 2}


@dataclass(frozen=True)
class Selection:
    """The rows a version may hold and what was found on the way.

    rows: for each split that has any, positions in the inspected table in source order.
    counts: for each of these splits how many rows each class has.
    """

    rows: dict[str, list[int]]
    counts: dict[str, dict[str, int]]
    labels: tuple[str, ...]
    problems: list[Problem]
    num_seen: int

    @property
    def num_rows(self) -> int:
        """How many rows are kept."""
        return sum(len(rows) for rows in self.rows.values())

    @property
    def errors(self) -> list[Problem]:
        """The problems that refuse the set unless their rows are skipped."""
        return [problem for problem in self.problems if problem.severity == ERROR]


@dataclass(frozen=True)
class _Row:
    position: int
    origin: str
    split: str
    label: str | None
    content: bytes
    group: bytes


def select(
    inspected: pa.Table,
    vocabulary: tuple[str, ...] | None,
    split: SplitConfig,
    findings: Sequence[Problem] = (),
) -> Selection:
    """Check all inspected rows against each other and keep those without an error.

    `findings` are the problems known before, which go first.
    """
    problems = [*findings, *_row_problems(inspected)]
    rows = _assigned(inspected, split)
    if vocabulary is not None:
        rows, unknown = _in_vocabulary(rows, vocabulary)
        problems += unknown
    rows, duplicates = _once_across_splits(rows)
    problems += duplicates
    found: list[Any] = inspected.column("label").to_pylist()
    labels = ordered_labels(row.label for row in rows) if vocabulary is None else vocabulary
    by_split = {name: [row for row in rows if row.split == name] for name in SPLITS}
    by_split = {name: kept for name, kept in by_split.items() if kept}
    counts = {name: Counter(row.label or "" for row in kept) for name, kept in by_split.items()}
    problems += _repeated_inside(by_split)
    problems += _shared_groups(rows)
    problems += _lost_classes(ordered_labels(found) if vocabulary is None else vocabulary, counts)
    problems += _partial_classes(counts)
    problems += _missing_splits(by_split, split)
    return Selection(
        rows={name: [row.position for row in kept] for name, kept in by_split.items()},
        counts={name: {label: count[label] for label in labels} for name, count in counts.items()},
        labels=labels,
        problems=problems,
        num_seen=inspected.num_rows,
    )


def ordered_labels(labels: Iterable[str | None]) -> tuple[str, ...]:
    """The distinct labels: numbers by value where all are whole numbers, else by name."""
    distinct = {label for label in labels if label is not None}
    if all(_WHOLE.fullmatch(label) for label in distinct):
        return tuple(sorted(distinct, key=lambda label: (int(label), label)))
    return tuple(sorted(distinct))


def _row_problems(inspected: pa.Table) -> list[Problem]:
    faulty = inspected.select(["origin", "faults"]).to_pydict()
    return [
        Problem(fault["kind"], origin, fault["detail"])
        for origin, faults in zip(faulty["origin"], faulty["faults"], strict=True)
        for fault in faults
    ]


def _assigned(inspected: pa.Table, split: SplitConfig) -> list[_Row]:
    columns: dict[str, list[Any]] = inspected.to_pydict()
    usable = [position for position, faults in enumerate(columns["faults"]) if not faults]
    groups = [columns["group"][position] for position in usable]
    splits = assign([columns["split"][position] for position in usable], groups, split)
    return [
        _Row(
            position=position,
            origin=columns["origin"][position],
            split=assigned,
            label=columns["label"][position],
            content=columns["content"][position],
            group=group,
        )
        for position, assigned, group in zip(usable, splits, groups, strict=True)
    ]


def _in_vocabulary(rows: list[_Row], vocabulary: Sequence[str]) -> tuple[list[_Row], list[Problem]]:
    allowed = {None, *vocabulary}
    listed = ", ".join(vocabulary[:20]) + (", ..." if len(vocabulary) > 20 else "")
    problems = [
        Problem("unknown label", row.origin, f"label {row.label!r} is not one of: {listed}")
        for row in rows
        if row.label not in allowed
    ]
    return [row for row in rows if row.label in allowed], problems


def _once_across_splits(rows: list[_Row]) -> tuple[list[_Row], list[Problem]]:
    keeper: dict[bytes, _Row] = {}
    for row in rows:
        best = keeper.get(row.content)
        if best is None or _PRECEDENCE[row.split] < _PRECEDENCE[best.split]:
            keeper[row.content] = row
    problems, kept = [], []
    for row in rows:
        best = keeper[row.content]
        if best.split == row.split:
            kept.append(row)
            continue
        detail = f"the {row.split} row has the same content as the {best.split} row {best.origin}"
        problems.append(Problem("duplicate across splits", row.origin, detail))
    return kept, problems


def _repeated_inside(by_split: dict[str, list[_Row]]) -> list[Problem]:
    problems = []
    for split, rows in by_split.items():
        first: dict[bytes, _Row] = {}
        pairs = [(row, first.setdefault(row.content, row)) for row in rows]
        repeats = [(row, other) for row, other in pairs if row is not other]
        if repeats:
            shown = ", ".join(
                f"{row.origin} = {other.origin}" for row, other in repeats[:_EXAMPLES]
            )
            detail = f"rows that repeat another {split} row: {len(repeats)}, such as {shown}"
            problems.append(Problem("duplicate inside a split", split, detail, WARNING))
    return problems


def _shared_groups(rows: list[_Row]) -> list[Problem]:
    """Rows that differ (another question) but show a model the same image in two splits."""
    splits: dict[bytes, dict[str, _Row]] = defaultdict(dict)
    for row in rows:
        splits[row.group].setdefault(row.split, row)
    shared = [list(by_split.values()) for by_split in splits.values() if len(by_split) > 1]
    if not shared:
        return []
    examples = ", ".join(" = ".join(row.origin for row in same) for same in shared[:_EXAMPLES])
    detail = f"images that stand in more than one split: {len(shared)}, such as {examples}"
    return [Problem("image in two splits", shared[0][0].origin, detail, WARNING)]


def _lost_classes(labels: Sequence[str], counts: dict[str, Counter[str]]) -> list[Problem]:
    present = {label for count in counts.values() for label in count}
    return [
        Problem("empty class", label, f"class {label!r} has no rows left", WARNING)
        for label in labels
        if label not in present
    ]


def _partial_classes(counts: dict[str, Counter[str]]) -> list[Problem]:
    present = ordered_labels(label for count in counts.values() for label in count)
    problems = []
    for split, count in counts.items():
        missing = [label for label in present if label not in count]
        if missing:
            listed = ", ".join(missing[:10]) + (", ..." if len(missing) > 10 else "")
            detail = f"{split} has no row of {len(missing)} of {len(present)} classes: {listed}"
            problems.append(Problem("split without a class", split, detail, WARNING))
    return problems


def _missing_splits(by_split: dict[str, list[_Row]], config: SplitConfig) -> list[Problem]:
    wanted = {"train": 1.0, "val": config.val, "test": config.test}
    return [
        Problem(
            "empty split",
            split,
            f"no row fell into {split}",
            ERROR if split == "train" else WARNING,
        )
        for split, fraction in wanted.items()
        if fraction > 0 and split not in by_split
    ]
