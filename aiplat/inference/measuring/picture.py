"""What was measured in one picture: how long a pass takes against how many rows it answers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aiplat.inference.measuring.results import Chosen, Result

_MARKERS = {"fp32": "o", "bf16": "s", "fp16": "^", "int8": "D"}


def draw_measured(
    results: Sequence[Result], best: Chosen | None, p99_ms: float | None, title: str, path: Path
) -> None:
    """Write the picture as PNG. A line an arm, a point a batch size; hollow: not in parity."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.add_subplot()
    engines = list(dict.fromkeys(result.arm.engine for result in results))
    for result in results:
        if result.points:
            _draw_arm(axes, result, f"C{engines.index(result.arm.engine)}")
    if p99_ms is not None:
        axes.axvline(p99_ms, color="gray", ls=":", label=f"slo.p99_ms={p99_ms:g}")
    if best is not None:
        axes.plot(
            best.point.p99_ms, best.point.rows_per_s, "*", ms=22, mfc="none", color="black",
            label=f"chosen: {best.result.arm.called}",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="ms a pass, 99th percentile", ylabel="rows/s")
    axes.set_title(title, parse_math=False)
    axes.grid(visible=True, which="both", alpha=0.2)
    axes.legend(fontsize=8)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw_arm(axes: Any, result: Result, color: str) -> None:
    axes.plot(
        [point.p99_ms for point in result.points],
        [point.rows_per_s for point in result.points],
        marker=_MARKERS.get(result.arm.precision, "x"),
        mfc=color if result.is_in_parity else "none",
        color=color,
        lw=1.0,
        ls="-" if result.is_in_parity else "--",
        label=f"{result.arm.called}{'' if result.is_in_parity else ' (not in parity)'}",
    )
    for point in result.points:
        place = (point.p99_ms, point.rows_per_s)
        offset = {"textcoords": "offset points", "xytext": (5, -9)}
        axes.annotate(str(point.batch_size), place, fontsize=7, color=color, **offset)
