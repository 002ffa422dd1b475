"""What a person sees of a release, while it goes and at its end."""

import math
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from aiplat.serving.releases.evidence import Side, Step
    from aiplat.serving.releases.judge import Finding
    from aiplat.serving.releases.report import ReleaseReport

_WIDTH = 108


class ReleaseWatch:
    """A line for each step, and one that says how the present step goes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status = console.status("")
        self._shown: Step | None = None

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._status.stop()

    def __call__(self, step: "Step", findings: "Sequence[Finding]") -> None:
        """Show the step and what is found."""
        if step is not self._shown:
            if self._shown is not None and self._shown.is_of_nobody:
                self.say(f"no key of {len(self._shown.keys)} that asked is in that share")
            self._shown = step
            self.say(_share(step))
        found = ", ".join(f"{each.name} {each.seen:.2%}" for each in findings)
        self._status.update(
            f"{_share(step)}: {step.to_answer} requests for the candidate to answer, "
            f"{step.compared} compared; {found or 'nothing found yet'}"
        )

    def say(self, line: str) -> None:
        """Tell what begins now."""
        self.console.print(escape(line))
        self._status.update(escape(line))


def _share(step: "Step") -> str:
    return f"step {step.weight * 100:g} %"


def show_report(console: Console, report: "ReleaseReport") -> None:
    """Print what each version did at each step, what was found, and the verdict."""
    # Squeezed into the 80 columns of a log it could not be read.
    console.width = max(console.width, _WIDTH)
    table = Table(title=report.title)
    for name in ("step", "version"):
        table.add_column(name)
    for name in ("requests", "failed", "p50 ms", "p95 ms", "p99 ms", "compared", "disagree"):
        table.add_column(name, justify="right")
    release = report.release
    for step in report.evidence.steps:
        share = step.disagreement / step.compared if step.compared else math.nan
        compared = (str(step.compared), f"{share:.1%}" if step.compared else "")
        table.add_row(f"{step.weight * 100:g} %", release.champion, *_figures(step.champion))
        table.add_row("", release.candidate, *_figures(step.candidate), *compared, end_section=True)
    console.print(table)
    for found in report.outcome.findings:
        color = "red" if found.is_harm else "green" if found.is_fine else "yellow"
        console.print(f"[{color}]{escape(str(found))}[/]")


def _figures(side: "Side") -> tuple[str, ...]:
    times = (side.quantile_s(share) for share in (0.5, 0.95, 0.99))
    shown = ("" if math.isnan(each) else f"{each * 1000:.1f}" for each in times)
    return (str(side.requests), str(side.failures), *shown)
