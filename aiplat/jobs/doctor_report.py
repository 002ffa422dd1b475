"""What a check of the machine found, as a table for people and as JSON for programs."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TextIO

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiplat.doctor.finding import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}


def write_table(findings: Sequence[Finding], stream: TextIO) -> None:
    """A line for each, and below what is not well its remedy."""
    console = Console(file=stream, highlight=False)
    table = Table(box=SIMPLE, pad_edge=False, show_header=False)
    for name in ("name", "level", "found"):
        table.add_column(name, overflow="fold")
    for finding in findings:
        remedy = f"\n[dim]{escape(finding.remedy)}[/]" if finding.remedy else ""
        style = _STYLES[finding.level]
        table.add_row(
            finding.name, f"[{style}]{finding.level}[/]", f"{escape(finding.value)}{remedy}"
        )
    console.print(table)


def write_json(findings: Sequence[Finding], stream: TextIO) -> None:
    """A list of what was found; the keys are those of Finding."""
    json.dump([asdict(finding) for finding in findings], stream, indent=2)
    stream.write("\n")


FORMATS: Mapping[str, Callable[[Sequence[Finding], TextIO], None]] = {
    "table": write_table,
    "json": write_json,
}
