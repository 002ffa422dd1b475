"""What a person sees of engines being measured, while it goes and at its end."""

from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aiplat.inference.measuring.results import Chosen, Point, Result, speedup

_WIDTH = 108


class OptimizeWatch:
    """A line for each engine that is ready or fails, and a bar over all."""

    def __init__(self, console: Console, num_arms: int, num_rounds: int) -> None:
        self.console = console
        self.num_rounds = num_rounds
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        # torch itself is measured too.
        self.num_steps = num_arms + 1 + num_rounds
        self.bar = self.progress.add_task("engines", total=self.num_steps)

    def __enter__(self) -> "OptimizeWatch":
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.progress.update(self.bar, completed=self.num_steps, description="measured")
        self.progress.stop()

    def __call__(self, kind: str, told: Result | int) -> None:
        """Take note of what goes on."""
        if isinstance(told, int):
            self.progress.update(self.bar, description=f"round {told + 1} of {self.num_rounds}")
            self.progress.advance(self.bar, 1 if told else 0)
            return
        self.progress.update(self.bar, description=f"compiling {told.arm.called}")
        if kind == "prepare":
            return
        self.progress.advance(self.bar)
        if told.reason is not None:
            self.progress.console.print(f"{told.arm.called}: [yellow]{escape(told.reason)}[/]")
        elif told.parity is not None:
            faults = "; ".join(told.parity.faults)
            self.progress.console.print(
                f"{told.arm.called}: ready in {told.prepare_s + told.load_s:.1f} s, "
                f"answers differ by {told.parity.difference:.1e} at most"
                + (f" [yellow]({escape(faults)})[/]" if faults else "")
            )


def show_measured(
    console: Console, results: Sequence[Result], best: Chosen | None, title: str
) -> None:
    """Print all that was measured; the choice stands out, what is not in parity stands back."""
    # Squeezed into the 80 columns of a log it could not be read.
    console.width = max(console.width, _WIDTH)
    table = Table(title=title)
    table.add_column("engine")
    for name in ("rows", "median ms", "p99 ms", "rows/s", "x eager", "differs", "metric"):
        table.add_column(name, justify="right")
    table.add_column("compiled in s", justify="right")
    for result in results:
        for index, point in enumerate(result.points):
            is_best = best is not None and best.point is point
            table.add_row(
                result.arm.called if index == 0 else "",
                *_figures(results, point),
                *(_parity(result) if index == 0 else ()),
                style="bold green" if is_best else None if result.is_in_parity else "dim",
                end_section=index == len(result.points) - 1,
            )
    console.print(table)
    for result in results:
        if result.reason is not None:
            console.print(f"{result.arm.called}: {escape(result.reason)}")
        elif result.parity is not None and result.parity.faults:
            faults = "; ".join(result.parity.faults)
            console.print(f"{result.arm.called} is not in parity: {escape(faults)}")


def _figures(results: Sequence[Result], point: Point) -> tuple[str, ...]:
    times = speedup(results, point)
    return (
        str(point.batch_size),
        f"{point.median_ms:.2f}",
        f"{point.p99_ms:.2f}",
        f"{point.rows_per_s:.1f}",
        "" if times is None else f"{times:.2f}",
    )


def _parity(result: Result) -> tuple[str, ...]:
    if result.parity is None:
        return ()
    parity = result.parity
    return f"{parity.difference:.1e}", f"{parity.metric:.4f}", f"{result.prepare_s:.1f}"
