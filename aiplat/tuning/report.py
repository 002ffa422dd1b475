"""What a study found, to be looked at: pictures, a page that works off-line, tables."""

import csv
import html
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from aiplat.store import files
from aiplat.tuning.methods import quieten
from aiplat.tuning.notes import CAUSE, EPOCHS, FAILURE, SECONDS, VALUES
from aiplat.tuning.study import Study

_MAX_LABEL = 28
_DPI = 120
_MAX_LEGEND = 10


@dataclass(frozen=True)
class StudyFacts:
    """What a report says of a study besides its trials.

    objectives: what the values of a trial are called, in their order. max_epochs: of a trial that
    is not ended early.
    """

    name: str
    objectives: Sequence[str]
    max_epochs: int


@dataclass(frozen=True)
class Counts:
    """How the trials of a study ended. saved_epochs: not trained, of the trials ended early."""

    complete: int
    pruned: int
    failed: int
    epochs: int
    saved_epochs: int

    @classmethod
    def of(cls, trials: Sequence[FrozenTrial], max_epochs: int) -> "Counts":
        """Count them."""
        by = {
            state: [trial for trial in trials if trial.state == state]
            for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        }
        epochs = [int(trial.user_attrs.get(EPOCHS, 0)) for trial in trials]
        saved = [max_epochs - trial.user_attrs.get(EPOCHS, 0) for trial in by[TrialState.PRUNED]]
        return cls(
            complete=len(by[TrialState.COMPLETE]),
            pruned=len(by[TrialState.PRUNED]),
            failed=len(by[TrialState.FAIL]),
            epochs=sum(epochs),
            saved_epochs=sum(saved),
        )


def write_report(study: Study, facts: StudyFacts, folder: Path) -> list[str]:
    """Write it all into the folder; the answer says of each picture that could not be drawn why."""
    quieten()
    folder.mkdir(parents=True, exist_ok=True)
    trials = study.trials
    counts = Counts.of(trials, facts.max_epochs)
    _write_table(folder / "trials.csv", trials, facts)
    summary = {
        "study": facts.name,
        "counts": vars(counts),
        "best": [_described(trial, facts) for trial in study.best()],
        "failures": {trial.number: trial.user_attrs.get(FAILURE, "") for trial in _failed(trials)},
    }
    files.write_json(str(folder / "summary.json"), summary)
    pages, missing = [], []
    for name, picture in _pictures(study, facts).items():
        if not study.ranked():
            missing.append(f"{name}: no trial has a result")
            continue
        try:
            with warnings.catch_warnings():
                # Of axes along which all trials are alike, and of few trials.
                warnings.simplefilter("ignore", UserWarning)
                _draw(picture.still, folder / f"{name}.png")
                pages.append(picture.live())
        except (ValueError, RuntimeError, ZeroDivisionError) as error:
            # Too few trials, or too alike, for this view of them.
            missing.append(f"{name}: {error}")
    (folder / "report.html").write_text(_page(facts, counts, study, pages))
    return missing


@dataclass(frozen=True)
class _Picture:
    """One view of a study: drawn by matplotlib, and by plotly for the page."""

    still: Callable[[], Any]
    live: Callable[[], Any]


def _pictures(study: Study, facts: StudyFacts) -> dict[str, _Picture]:
    import optuna.visualization as live
    from optuna.visualization import matplotlib as still

    found, first = study.optuna, _by_first_objective(study.optuna)

    def picture(of: optuna.Study, plot: str, **chosen: Any) -> _Picture:
        return _Picture(
            lambda: getattr(still, plot)(of, **chosen), lambda: getattr(live, plot)(of, **chosen)
        )

    of_all = (
        {"front": picture(found, "plot_pareto_front", target_names=list(facts.objectives))}
        if len(facts.objectives) > 1
        else {"epochs": picture(found, "plot_intermediate_values")}
    )
    name = facts.objectives[0]
    return {
        "history": picture(first, "plot_optimization_history", target_name=name),
        "parallel": picture(first, "plot_parallel_coordinate", target_name=name),
        "importances": picture(first, "plot_param_importances", target_name=name),
        "slices": picture(first, "plot_slice", target_name=name),
        **of_all,
    }


def _by_first_objective(found: optuna.Study) -> optuna.Study:
    """The study as if its first objective were the only one.

    Trials that were ended early count as complete, with their last score: most trials of a search
    are, and without them there would be little to see.
    """
    viewed = optuna.create_study(direction=found.directions[0])
    for trial in found.get_trials(deepcopy=False):
        if trial.state == TrialState.COMPLETE:
            score = trial.values[0]
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            score = trial.intermediate_values[max(trial.intermediate_values)]
        else:
            # It keeps the numbers of the others what they are.
            viewed.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
            continue
        viewed.add_trial(
            optuna.trial.create_trial(
                value=score, params=trial.params, distributions=trial.distributions
            )
        )
    return viewed


def _draw(still: Callable[[], Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    with plt.style.context("default"):
        drawn = still()
        axes = list(np.ravel(drawn)) if isinstance(drawn, np.ndarray) else [drawn]
        figure = axes[0].figure
        legend = axes[0].get_legend()
        if legend is not None and len(legend.get_texts()) > _MAX_LEGEND:
            legend.remove()
        figure.set_size_inches(max(9.0, 3.2 * len(axes)), 5.0)
        figure.savefig(path, dpi=_DPI, bbox_inches="tight")
        plt.close(figure)


def _page(facts: StudyFacts, counts: Counts, study: Study, figures: Sequence[Any]) -> str:
    """One file that needs nothing else: plotly's own code is in it."""
    drawn = [
        figure.to_html(full_html=False, include_plotlyjs=index == 0)
        for index, figure in enumerate(figures)
    ]
    best = "".join(
        f"<li>trial {trial.number}: {html.escape(_line(trial, facts))}</li>"
        for trial in study.best()
    )
    failed = "".join(
        f"<li>trial {trial.number}: {html.escape(str(trial.user_attrs.get(FAILURE, '')))}</li>"
        for trial in _failed(study.trials)
    )
    said = (
        f"{counts.complete} complete, {counts.pruned} pruned ({counts.saved_epochs} epochs saved), "
        f"{counts.failed} failed; {counts.epochs} epochs trained"
    )
    return "\n".join(
        [
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            f"<title>Study {html.escape(facts.name)}</title>",
            "<style>body{font-family:sans-serif;max-width:70rem;margin:2rem auto}</style></head>",
            f"<body><h1>Study {html.escape(facts.name)}</h1><p>{said}</p>",
            "<p>In the pictures trials that were ended early have their last score.</p>",
            f"<h2>Best</h2><ul>{best or '<li>none</li>'}</ul>",
            *([f"<h2>Failed</h2><ul>{failed}</ul>"] if failed else []),
            *drawn,
            "</body></html>",
        ]
    )


def _write_table(path: Path, trials: Sequence[FrozenTrial], facts: StudyFacts) -> None:
    settings = sorted({name for trial in trials for name in trial.user_attrs.get(VALUES, {})})
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["trial", "state", *facts.objectives, EPOCHS, SECONDS, CAUSE, FAILURE, *settings]
        )
        for trial in trials:
            notes = trial.user_attrs
            values = list(trial.values or [None] * len(facts.objectives))
            noted = [notes.get(name, "") for name in (EPOCHS, SECONDS, CAUSE, FAILURE)]
            of_settings = [notes.get(VALUES, {}).get(name, "") for name in settings]
            writer.writerow([trial.number, trial.state.name.lower(), *values, *noted, *of_settings])


def _described(trial: FrozenTrial, facts: StudyFacts) -> Mapping[str, Any]:
    values = dict(zip(facts.objectives, trial.values, strict=True))
    return {"trial": trial.number, **values, "settings": trial.user_attrs.get(VALUES, {})}


def _line(trial: FrozenTrial, facts: StudyFacts) -> str:
    values = zip(facts.objectives, trial.values, strict=True)
    settings = trial.user_attrs.get(VALUES, {})
    return "  ".join(
        [
            *(f"{name} {value:.6g}" for name, value in values),
            *(f"{path}={value}" for path, value in settings.items()),
        ]
    )


def _failed(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [trial for trial in trials if trial.state == TrialState.FAIL]
