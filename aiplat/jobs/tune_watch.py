"""What a person sees of a study while it runs, and where its trials' events are kept."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import AiplatError
from aiplat.jobs.record import begin_record
from aiplat.jobs.tune_study import OpenStudy
from aiplat.jobs.tune_trials import OpenTrial, Progress
from aiplat.jobs.watch import RunWatch
from aiplat.tracking.tracker import Status, Tracker
from aiplat.training.run_log import RunLog

_SHOWN = 12
_REFRESH_PER_S = 2
_COLORS = {"running": "cyan", "complete": "green", "pruned": "yellow", "failed": "red"}


class TrialSinks:
    """Hands each trial's events to its run's log and tracker; all of it on one thread.

    opened: the trials that were begun. make_tracker: a new tracker each. parent: the study's
    record.
    """

    def __init__(
        self,
        opened: Mapping[int, OpenTrial],
        version: DatasetVersion,
        make_tracker: Callable[[], Tracker],
        parent: str | None,
        complain: Callable[[str], None],
    ) -> None:
        self.opened, self.version = opened, version
        self.make_tracker, self.parent = make_tracker, parent
        self.complain = complain
        self.sinks: dict[int, tuple[RunWatch, ExitStack]] = {}
        self.ended: set[int] = set()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take note of an event of the trial that it names."""
        number = event.get("trial")
        if number is None:
            self.complain(str(event.get("text", event)))
        elif event["kind"] == "closed":
            self._close(number, event["status"])
        # A trial that was ended early may still say a word on its way out.
        elif number not in self.ended:
            self._sink(number)({name: item for name, item in event.items() if name != "trial"})

    def __enter__(self) -> "TrialSinks":
        return self

    def __exit__(self, *_: object) -> None:
        """Close those that were cut off."""
        for number in list(self.sinks):
            self._close(number, "stopped")

    def _sink(self, number: int) -> RunWatch:
        if number not in self.sinks:
            trial, stack = self.opened[number], ExitStack()
            tracker = self.make_tracker()
            begin_record(tracker, trial.run, trial.config, self.version, self.parent)
            log = stack.enter_context(RunLog(trial.run.uri))
            self.sinks[number] = (RunWatch(Console(quiet=True), tracker, log), stack)
        return self.sinks[number][0]

    def _close(self, number: int, status: str) -> None:
        if status != "lost":
            self.ended.add(number)
        watch, stack = self.sinks.pop(number, (None, None))
        if watch is None or stack is None:
            return
        stack.close()
        if status == "pruned":
            watch.tracker.tag("pruned", "true")
        try:
            watch.tracker.finish(_STATUS.get(status, "stopped"))
        except AiplatError as error:
            self.complain(str(error))


_STATUS: Mapping[str, Status] = {
    "finished": "finished",
    "pruned": "finished",
    "failed": "failed",
    "lost": "failed",
    "stopped": "stopped",
}


class StudyWatch:
    """A table of the latest trials and the best so far; lines where there is no terminal."""

    def __init__(self, console: Console, opened: OpenStudy, num_trials: int) -> None:
        self.console, self.opened, self.num_trials = console, opened, num_trials
        self.metric = opened.task.primary
        self.trials: dict[int, Progress] = {}
        self.num_before = len(opened.study.trials) - len(opened.study.unfinished)
        self.best = _best(opened)
        self.live = Live(
            console=console, get_renderable=self._table, refresh_per_second=_REFRESH_PER_S
        )

    def __enter__(self) -> "StudyWatch":
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def __call__(self, trial: Progress) -> None:
        """A trial has come further, or ended."""
        self.trials[trial.number] = trial
        if trial.state == "complete":
            self.best = _best(self.opened)
        if self.console.is_terminal or (trial.state == "running" and not trial.text):
            return
        score = "" if trial.score is None else f"{self.metric} {trial.score:.4g}  "
        text = f"  {trial.text}" if trial.text else ""
        best = f"  best so far {self.best}" if self.best else ""
        self.console.print(
            f"trial {trial.number} {trial.state}  {score}{shown(trial.values)}{escape(text)}{best}"
        )

    def say(self, text: str) -> None:
        """A line beside the table."""
        self.console.print(f"[yellow]note[/] {escape(text)}")

    def _table(self) -> Table:
        ended = sum(trial.state != "running" for trial in list(self.trials.values()))
        count = f"{self.num_before + ended}/{self.num_trials} trials"
        best = f", best so far {self.best}" if self.best else ""
        table = Table(title=f"Study {self.opened.name}: {count}{best}")
        for column in ("trial", "state", "epoch", self.metric, "settings", ""):
            table.add_column(column)
        for _, trial in sorted(self.trials.copy().items())[-_SHOWN:]:
            table.add_row(
                str(trial.number),
                f"[{_COLORS[trial.state]}]{trial.state}[/]",
                str(trial.epoch or ""),
                "" if trial.score is None else f"{trial.score:.4g}",
                escape(shown(trial.values)),
                escape(trial.text),
            )
        return table


def _best(opened: OpenStudy) -> str:
    ranked = opened.study.ranked()
    return f"{ranked[0].values[0]:.4f} (trial {ranked[0].number})" if ranked else ""


def shown(values: Mapping[str, Any]) -> str:
    """Settings in a line, numbers as short as they can be told apart by."""
    return "  ".join(
        f"{path}={value:.3g}" if isinstance(value, float) else f"{path}={value}"
        for path, value in values.items()
    )
