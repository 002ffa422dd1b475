"""A drill on one page: the loss with and without kills, the workers there were, each recovery."""

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from aiplat.training.drill.recovery import PHASES, Recovery
from aiplat.training.drill.report import DrillReport

_COLORS = {
    "worker": "tab:orange",
    "node": "tab:red",
    "driver": "tab:purple",
    "preemption": "tab:blue",
}
_PHASE_COLORS = ("tab:gray", "tab:blue", "tab:cyan", "tab:green")


def draw_drill(report: DrillReport, path: Path) -> None:
    """Write the picture as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 9), layout="constrained")
    losses, workers, times = figure.subplots(3, height_ratios=(3, 1, 2))
    _draw_losses(losses, report)
    found = [recovery for recovery in report.recoveries if recovery is not None]
    _draw_workers(workers, report)
    _draw_times(times, found)
    FigureCanvasAgg(figure).print_png(str(path))


def _draw_losses(axes: Any, report: DrillReport) -> None:
    names = ["drilled", *("undisturbed" for _ in report.curves[1:])]
    for index, (curve, name) in enumerate(zip(report.curves, names, strict=True)):
        style = {"color": "black", "lw": 1.2} if index == 0 else {"lw": 0.8, "alpha": 0.6}
        axes.plot(list(curve.steps), _smoothed(list(curve.steps.values())), label=name, **style)
    for kind in dict.fromkeys(strike.kill.kind for strike in report.strikes):
        steps = [strike.step for strike in report.strikes if strike.kill.kind == kind]
        for index, step in enumerate(steps):
            label = kind if index == 0 else None
            axes.axvline(step, color=_COLORS.get(kind), lw=0.8, ls="--", label=label)
    axes.set(ylabel="training loss, smoothed", xlabel="step")
    axes.set_title(f"Drill {report.name}: {len(report.strikes)} kills", parse_math=False)
    axes.legend(loc="upper right", fontsize=8)


def _smoothed(losses: list[float]) -> list[float]:
    """Means over a hundredth of the run: single batches hide where it goes."""
    width, sums = max(1, len(losses) // 100), [0.0, *accumulate(losses)]
    means = []
    for index in range(len(losses)):
        first = max(0, index + 1 - width)
        means.append((sums[index + 1] - sums[first]) / (index + 1 - first))
    return means


def _draw_workers(axes: Any, report: DrillReport) -> None:
    began = min((at for at, _ in report.groups), default=0.0)
    times = [(at - began) / 60 for at, _ in report.groups]
    counts = [num_workers for _, num_workers in report.groups]
    axes.step(times, counts, where="post", color="black", lw=1.0)
    for strike in report.strikes:
        color = _COLORS.get(strike.kill.kind)
        axes.axvline((strike.at - began) / 60, color=color, lw=0.8, ls="--")
    axes.set(ylabel="workers", xlabel="minutes", ylim=(0, max(counts, default=1) + 1))


def _draw_times(axes: Any, found: Sequence[Recovery]) -> None:
    below = [0.0] * len(found)
    labels = [f"{recovery.strike.kill.number} {recovery.strike.kill.kind}" for recovery in found]
    for phase, color in zip(PHASES, _PHASE_COLORS, strict=True):
        heights = [getattr(recovery, phase) for recovery in found]
        name = phase.replace("_", " ")
        axes.bar(range(len(found)), heights, bottom=below, label=name, color=color)
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.set_xticks(range(len(found)), labels, fontsize=7, rotation=30, ha="right")
    axes.set(ylabel="seconds to go on", xlabel="kill", ylim=(0, 1.2 * max(below, default=1.0)))
    axes.legend(loc="upper left", fontsize=8, ncols=len(PHASES))
