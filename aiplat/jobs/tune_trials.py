"""The trials of a study as runs: each composed, held, told how it went."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

from optuna.trial import TrialState

from aiplat.config.command import Recompose
from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import AiplatError, ConfigError
from aiplat.jobs.plan import train_job
from aiplat.jobs.record import as_recorded
from aiplat.jobs.schema import TrainConfig
from aiplat.store import files
from aiplat.training.faults import one_line
from aiplat.training.run import Run, open_run
from aiplat.tuning.study import Draw, Ending, Study
from aiplat.tuning.trials import TrialPlan

State = Literal["running", "complete", "pruned", "failed"]

# Of a study none of whose first trials has a result, none is to be expected.
_TOO_MANY_FAILED = 5


@dataclass
class Progress:
    """How one trial stands, for whoever watches."""

    number: int
    values: dict[str, Any]
    state: State = "running"
    epoch: int = 0
    score: float | None = None
    text: str = ""


@dataclass
class OpenTrial:
    """A trial's run, as its log and its tracker need it."""

    run: Run
    config: dict[str, Any]


class StudyTrials:
    """See `aiplat.tuning.trials.Trials`. watch: called with a trial's progress as it changes."""

    def __init__(
        self,
        study: Study,
        config: TrainConfig,
        recompose: Recompose[Any],
        version: DatasetVersion,
        folder: str,
        watch: Callable[[Progress], None],
    ) -> None:
        self.study, self.config, self.recompose, self.version = study, config, recompose, version
        self.folder, self.watch = folder, watch
        self.progress: dict[int, Progress] = {}
        self.opened: dict[int, OpenTrial] = {}
        self.held: dict[int, ExitStack] = {}
        self.times_lost: dict[int, int] = {}
        self.dropped: set[int] = set()

    @property
    def is_over(self) -> bool:
        """See `Trials`."""
        return self.study.is_over

    def next(self) -> TrialPlan | None:
        """See `Trials`. A trial whose settings do not go together fails, and the next one comes."""
        while (draw := self.study.draw()) is not None:
            self.progress[draw.number] = Progress(draw.number, dict(draw.values))
            try:
                return self._plan(draw)
            except ConfigError as error:
                self.fail(draw.number, "config", f"config: {one_line(error)}")
        return None

    def report(self, number: int, epoch: int, score: float, seconds: float = 0.0) -> bool:
        """See `Trials`."""
        trial = self.progress[number]
        trial.epoch, trial.score = epoch, self._better(trial.score, score)
        if not self.study.report(number, epoch, score, seconds):
            self.watch(trial)
            return False
        self.study.prune(number)
        self._end(number, "pruned", f"after epoch {epoch}")
        return True

    def complete(self, number: int, ending: Ending) -> None:
        """See `Trials`. What is not a number cannot be compared, and is a failure."""
        if not self.study.complete(number, ending):
            self._end(number, "failed", "nan: what it is compared by is not a number")
            return
        self.progress[number].score = ending.values[0]
        self.progress[number].epoch = ending.epochs
        self._end(number, "complete", "")
        self._drop_checkpoints()

    def fail(self, number: int, cause: str, text: str) -> None:
        """See `Trials`. Raises AiplatError where no trial succeeds."""
        self.study.fail(number, cause, text)
        self._end(number, "failed", text)
        failed = [trial for trial in self.progress.values() if trial.state == "failed"]
        has_scores = any(trial.score is not None for trial in self.progress.values())
        if not self.study.ranked() and not has_scores and len(failed) >= _TOO_MANY_FAILED:
            raise AiplatError(
                f"the first {len(failed)} trials of the study all failed, the last with: {text}; "
                "mend that and start the study again under another tuning.study"
            )

    def lost(self, number: int, cause: str, text: str) -> None:
        """See `Trials`."""
        self.times_lost[number] = self.times_lost.get(number, 0) + 1
        is_of_the_cluster = cause in ("lost", "preempted", "stall")
        if is_of_the_cluster and self.times_lost[number] <= self.config.tuning.max_lost:
            self.progress[number].text = f"goes on after: {text}"
            self.watch(self.progress[number])
            self.study.give_back(number)
        else:
            self.fail(number, cause, text)

    def run_name(self, number: int) -> str:
        """What the run of a trial is called."""
        return f"{self.study.optuna.study_name}-{number:04d}"

    def run_dir(self, number: int) -> str:
        """The folder of a trial's run."""
        return files.join(files.absolute(self.config.storage), "runs", self.run_name(number))

    def __enter__(self) -> "StudyTrials":
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the runs that are still held."""
        self._drop_checkpoints()
        for stack in self.held.values():
            stack.close()
        self.held.clear()

    def configured(self, values: dict[str, Any], name: str) -> TrainConfig:
        """The experiment with these settings. Raises ConfigError."""
        config: TrainConfig = self.recompose({**values, "name": name, "register.name": None})
        return config

    def _plan(self, draw: Draw) -> TrialPlan:
        name = self.run_name(draw.number)
        config = self.configured(dict(draw.values), name)
        whole = as_recorded(config)
        if draw.number not in self.held:
            stack = ExitStack()
            run = stack.enter_context(open_run(config.storage, name, whole))
            self.held[draw.number] = stack
            self.opened[draw.number] = OpenTrial(run, whole)
        run = self.opened[draw.number].run
        if run.version not in (None, self.version.version):
            raise ConfigError(
                f"run {name!r} is of dataset version {run.version}, the study of "
                f"{self.version.id}: choose another tuning.study"
            )
        parent = None if draw.parent is None else self.run_dir(draw.parent)
        job = train_job(config, run.uri, self.version, parent)
        return TrialPlan(
            draw.number, name, job, tuple(self.config.tuning.objectives), self.config.tuning.engine
        )

    def _end(self, number: int, state: State, text: str) -> None:
        trial = self.progress[number]
        trial.state, trial.text = state, text
        stack = self.held.pop(number, None)
        if stack is not None:
            stack.close()
        self.watch(trial)

    def _better(self, before: float | None, score: float) -> float:
        if before is None:
            return score
        is_max = self.study.optuna.directions[0].name == "MAXIMIZE"
        return max(before, score) if is_max else min(before, score)

    def _drop_checkpoints(self) -> None:
        """Keep those of the best trials only: models are large, and trials many."""
        keep = self.config.tuning.keep
        # Any member of a population may yet be somebody's parent.
        if keep is None or (self.config.tuning.sampler == "pbt" and self.study.has_more):
            return
        kept = {trial.number for trial in [*self.study.ranked()[:keep], *self.study.best()]}
        for trial in self.study.trials:
            has_ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
            if has_ended and trial.number not in kept | self.dropped:
                files.remove_folder(files.join(self.run_dir(trial.number), "checkpoints"))
                self.dropped.add(trial.number)
