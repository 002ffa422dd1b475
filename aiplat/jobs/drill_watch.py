"""What a person sees of a drill, while it goes and at its end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aiplat.training.drill.recovery import PHASES, percentiles
from aiplat.training.drill.report import DrillReport
from aiplat.training.drill.rows import RowCounter


class DrillWatch:
    """Tells of each kill and each return, and has every epoch counted in time."""

    def __init__(self, console: Console, counter: RowCounter, num_kills: int) -> None:
        self.console = console
        self.counter = counter
        self.num_kills = num_kills
        self.struck_at: float | None = None
        self.start: Mapping[str, Any] = {}

    def __call__(self, kind: str, told: Mapping[str, Any]) -> None:
        """Take note of a strike or of an event of the run."""
        if kind == "strike":
            strike = told["strike"]
            self.struck_at, self.start = strike.at, {}
            damaged = f", {strike.damaged} damaged" if strike.damaged else ""
            self.console.print(
                f"kill {strike.kill.number}/{self.num_kills}: {strike.kill.kind} at step "
                f"{strike.step} of epoch {strike.epoch}, {_workers(strike.num_workers)}{damaged}"
            )
        elif told["kind"] in ("note", "failure"):
            self.console.print(f"  [dim]{escape(told.get('text', ''))}[/]")
        elif told["kind"] == "start":
            self.start = told
        elif told["kind"] == "step":
            self._step(told)

    def _step(self, event: Mapping[str, Any]) -> None:
        self.counter.reached(event["epoch"])
        if self.start and self.struck_at is not None and event["at"] > self.struck_at:
            workers, step = self.start["world_size"], self.start["step"]
            seconds = event["at"] - self.struck_at
            self.console.print(
                f"  {_workers(workers)} went on from step {step} after {seconds:.1f} s"
            )
            self.struck_at = None


def show_report(console: Console, report: DrillReport, folder: Path) -> None:
    """Print what the drill found."""
    table = Table(title=f"Seconds to go on after a kill: median / 95th percentile ({report.name})")
    table.add_column("killed")
    for name in ("times", *(phase.replace("_", " ") for phase in PHASES), "in all"):
        table.add_column(name, justify="right")
    for kind, group in report.recovered.items():
        quantiles = [percentiles(group, phase) for phase in (*PHASES, "total")]
        shown = [f"{median:.1f} / {most:.1f}" for median, most in quantiles]
        table.add_row(kind, str(len(group)), *shown)
    console.print(table)
    lost = sum(rows.lost for rows in report.rows)
    repeated = sum(rows.repeated for rows in report.rows)
    cut = sum(1 for rows in report.rows if rows.kills)
    found = report.comparison
    undisturbed = ", ".join(f"{loss:.4f}" for loss in found.undisturbed)
    console.print(
        f"{len(report.rows)} epochs, {cut} of them cut: {lost} rows lost, {repeated} repeated"
    )
    console.print(
        f"final loss {found.final:.4f}, undisturbed {undisturbed}: "
        f"{found.gap:.4f} apart, noise {found.noise:.4f}"
    )
    console.print(f"report: {folder}")


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"
