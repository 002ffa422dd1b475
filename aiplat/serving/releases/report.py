"""A release on one page: what each version answered, and what was found, as JSON and a picture."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aiplat.serving.releases.evidence import Evidence, Side, Step
from aiplat.serving.releases.release import Release
from aiplat.serving.releases.rollout import Outcome

_BINS = 120


@dataclass(frozen=True)
class ReleaseReport:
    """A release that has ended."""

    release: Release
    outcome: Outcome
    evidence: Evidence

    @property
    def title(self) -> str:
        """The release and its end in a line."""
        release = self.release
        state = self.outcome.state.replace("_", " ")
        return f"{release.endpoint}: version {release.candidate} for {release.champion}, {state}"

    def to_json(self) -> dict[str, Any]:
        """The report as plain values; times in seconds."""
        return {
            "release": asdict(self.release),
            "state": self.outcome.state,
            "reason": self.outcome.reason,
            "findings": [
                {**asdict(found), "is_harm": found.is_harm, "is_fine": found.is_fine}
                for found in self.outcome.findings
            ],
            "steps": [_step(step) for step in self.evidence.steps],
        }

    def draw(self, path: Path) -> None:
        """Write the picture as PNG: who answered when, and what was found of the candidate."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(10, 7), layout="constrained")
        answers, found = figure.subplots(2, height_ratios=(3, 2))
        self._draw_answers(answers)
        answers.set_title(self.title, parse_math=False)
        self._draw_findings(found)
        FigureCanvasAgg(figure).print_png(str(path))

    def _draw_answers(self, axes: Any) -> None:
        release, counted = self.release, self.evidence.answers
        last = max((second for second, _ in counted), default=0) + 1
        width = max(1, math.ceil(last / _BINS))
        starts = range(0, last, width)
        below = [0.0] * len(starts)
        for version, name in ((release.champion, "champion"), (release.candidate, "candidate")):
            rates = [
                sum(counted[second, version] for second in range(start, start + width)) / width
                for start in starts
            ]
            label = f"{name}, version {version}"
            axes.bar(starts, rates, width, below, align="edge", label=label, alpha=0.7)
            below = [low + rate for low, rate in zip(below, rates, strict=True)]
        for step in self.evidence.steps:
            at = step.began_at - release.began_at
            axes.axvline(at, color="gray", lw=0.8, ls=":")
            place = {"xy": (at, 1), "xycoords": ("data", "axes fraction"), "va": "top"}
            axes.annotate(f" {step.weight:.0%}", fontsize=8, **place)
        # Above the bars are the names of the steps.
        axes.set(xlabel="seconds", ylabel="answers/s", ylim=(0, 1.15 * max(below, default=1) or 1))
        axes.legend(loc="lower left", fontsize=8)

    def _draw_findings(self, axes: Any) -> None:
        findings = list(self.outcome.findings)[::-1]
        for row, found in enumerate(findings):
            color = "tab:red" if found.is_harm else "tab:green" if found.is_fine else "tab:gray"
            axes.plot([found.lower, found.upper], [row, row], color=color, lw=3, alpha=0.5)
            axes.plot(found.seen, row, "o", color=color)
            axes.plot(found.allowed, row, "|", color="black", ms=22, mew=2)
        axes.set_yticks(range(len(findings)), [found.name for found in findings])
        axes.set(xlabel="share of the candidate's requests: seen, sure, allowed (|)")
        axes.set_ylim(-0.6, max(0.6, len(findings) - 0.4))
        axes.grid(visible=True, axis="x", alpha=0.2)


def _step(step: Step) -> dict[str, Any]:
    return {
        "weight": step.weight,
        "mirror": step.mirror,
        "began_at": step.began_at,
        "champion": _side(step.champion),
        "candidate": _side(step.candidate),
        "compared": step.compared,
        "disagreement": step.disagreement / step.compared if step.compared else None,
        "difference": step.difference,
    }


def _side(side: Side) -> dict[str, Any]:
    quantiles = {f"p{share:g}_s": _known(side.quantile_s(share / 100)) for share in (50, 95, 99)}
    return {
        "requests": side.requests,
        "failures": side.failures,
        **quantiles,
        "errors": dict(side.errors),
    }


def _known(value: float) -> float | None:
    """JSON has no word for a number that is none."""
    return value if math.isfinite(value) else None
