"""What was used, as a table for people, and as CSV or JSON for programs."""

import csv
import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from aiplat.serving.metering.account import Charge, Reconciliation, ServiceLevel

_NAMES = ("key", "principal", "endpoint", "day")


@dataclass(frozen=True)
class UsageReport:
    """What a window holds. window: seconds since 1970. by: what a charge is of."""

    window: tuple[float, float]
    currency: str
    charges: "Sequence[Charge]"
    levels: "Sequence[ServiceLevel]"
    reconciliation: "Reconciliation"
    by: Sequence[str] = ("key", "endpoint", "day")

    def grouped(self, by: Sequence[str]) -> "UsageReport":
        """With the charges summed up that agree in `by`."""
        groups: dict[tuple[str, ...], list[Charge]] = defaultdict(list)
        for charge in self.charges:
            groups[tuple(getattr(charge, name) for name in by)].append(charge)
        return replace(self, by=by, charges=[_total(some, by) for some in groups.values()])


def _total(charges: "Sequence[Charge]", by: Sequence[str]) -> "Charge":
    first = charges[0]
    kept = {*by, "principal"} if "key" in by else {*by}
    sums: dict[str, Any] = {
        field.name: sum(getattr(charge, field.name) for charge in charges)
        for field in fields(first)
        if field.name not in _NAMES
    }
    changes = {**sums, **{name: "" for name in _NAMES if name not in kept}}
    return replace(first, **changes)


def write_table(report: UsageReport, stream: TextIO) -> None:
    """For people: charges, service levels, and the line that closes the books."""
    console = Console(file=stream, highlight=False, soft_wrap=True)
    since, until = (f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in report.window)
    if not report.charges:
        console.print(f"No requests from {since} to {until} UTC.")
    else:
        console.print(_charges(report, f"Usage from {since} to {until} UTC"))
        console.print(_levels(report))
    found = report.reconciliation
    state = "the books close" if found.closes else "[bold red]the books do not close[/]"
    # Most of the time there is nothing to tell of these.
    mirrored = f"mirrored {found.mirrored_s:.1f} s + " if found.mirrored_s else ""
    unclaimed = f"unclaimed {found.unclaimed_s:.1f} s + " if found.unclaimed_s else ""
    console.print(
        f"attributed {found.attributed_s:.1f} s + {mirrored}{unclaimed}idle {found.idle_s:.1f} s = "
        f"{found.explained_s:.1f} s of {found.replica_s:.1f} replica seconds "
        f"({found.unexplained:+.2%}): {state}"
    )


def _charges(report: UsageReport, title: str) -> Table:
    table = Table(title=title)
    shown = [*report.by, *(["principal"] if "key" in report.by else [])]
    for name in shown:
        table.add_column(name)
    for name in ("answered", "refused", "failed", "rows", "MB in", "MB out", "compute s"):
        table.add_column(name, justify="right")
    table.add_column(report.currency, justify="right")
    for charge in report.charges:
        numbers = (charge.requests, charge.refused, charge.failed, charge.rows)
        table.add_row(
            *(getattr(charge, name) or "-" for name in shown),
            *map(str, numbers),
            f"{charge.bytes_in / 1e6:.2f}",
            f"{charge.bytes_out / 1e6:.2f}",
            f"{charge.compute_s:.2f}",
            f"{charge.amount:.2f}",
        )
    return table


def _levels(report: UsageReport) -> Table:
    table = Table(title="Service levels")
    table.add_column("endpoint")
    for name in ("requests", "failed", "availability", "p50", "p95", "p99", "error budget left"):
        table.add_column(name, justify="right")
    for level in report.levels:
        times = (f"{each * 1000:.1f} ms" for each in (level.p50_s, level.p95_s, level.p99_s))
        table.add_row(
            level.endpoint,
            str(level.requests),
            str(level.failed),
            f"{level.availability:.4%}",
            *times,
            f"{level.error_budget:.1%}",
        )
    return table


def write_csv(report: UsageReport, stream: TextIO) -> None:
    """The charges, a line each."""
    kept = [name for name in _NAMES if name in report.by or (name, "key") == ("principal", "key")]
    names = [
        field.name
        for field in fields(_charge_type())
        if field.name not in _NAMES or field.name in kept
    ]
    writer = csv.DictWriter(stream, [*names, "currency"], extrasaction="ignore")
    writer.writeheader()
    for charge in report.charges:
        writer.writerow({**asdict(charge), "currency": report.currency})


def write_json(report: UsageReport, stream: TextIO) -> None:
    """All of it."""
    found = report.reconciliation
    body = {
        "since": report.window[0],
        "until": report.window[1],
        "currency": report.currency,
        "charges": [asdict(charge) for charge in report.charges],
        "service_levels": [_finite(asdict(level)) for level in report.levels],
        "reconciliation": _finite(
            {**asdict(found), "unexplained": found.unexplained, "closes": found.closes}
        ),
    }
    json.dump(body, stream, indent=2)
    stream.write("\n")


def _charge_type() -> "type[Charge]":
    from aiplat.serving.metering.account import Charge

    return Charge


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no word for a number that is none."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


FORMATS: Mapping[str, Callable[[UsageReport, TextIO], None]] = {
    "table": write_table,
    "csv": write_csv,
    "json": write_json,
}
