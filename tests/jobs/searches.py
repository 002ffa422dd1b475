"""Searches of a small table's experiment in this process: a driver that may die, no cluster."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiplat.config.compose import compose, overrides_of
from aiplat.datasets.synthetic import separable_table
from aiplat.datasets.versions import DatasetVersion
from aiplat.jobs.schema import TrainConfig
from aiplat.jobs.tune_study import OpenStudy, open_study
from aiplat.jobs.tune_trials import Progress, StudyTrials
from aiplat.training.local import tables_of
from aiplat.training.loop import fit
from aiplat.tuning.objectives import measured
from aiplat.tuning.space import checked_space
from aiplat.tuning.study import Ending
from aiplat.tuning.trials import TrialPlan
from tests.training.runs import CutOffError, MortalWorker

SPACE = "tuning.space={optim.lr: {loguniform: [1e-4, 1e-1]}, model.dropout: {uniform: [0, 0.4]}}"
# A batch is 20 of 60 rows: three steps an epoch.
STEPS = 3


class PrunedError(Exception):
    """The pruner ended the trial."""


@dataclass
class TrialWorker(MortalWorker):
    """Reports the validation metric of each epoch, as a trial's process does."""

    tell: Callable[[int, float], bool] = lambda _epoch, _score: False

    def report(self, metrics: dict[str, float]) -> None:
        super().report(metrics)
        if self.tell(int(metrics["epoch"]), metrics[self.task.primary]):
            raise PrunedError


@dataclass
class Search:
    """The command that starts a search, and starts it again."""

    storage: Path
    overrides: tuple[str, ...] = (SPACE,)
    version: DatasetVersion = field(init=False)
    # The steps that were trained now, of each trial.
    steps: dict[int, list[int]] = field(default_factory=dict)
    seen: list[Progress] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.version = separable_table(100).write(str(self.storage), "table", 20, 20)

    def compose(self, *more: str) -> TrainConfig:
        fixed = [
            "+exp=tabular",
            f"storage={self.storage}",
            "tracking=none",
            "name=search",
            "dataset.name=table",
            "dataset.batch_size=20",
            "model.widths=[8]",
            "loop.max_epochs=3",
            "loop.precision=fp32",
            "loop.log_every_steps=1",
            "checkpoint.every_steps=1",
            "register.name=null",
            "tuning.num_trials=4",
            "tuning.sampler=random",
            "tuning.pruner=none",
        ]
        given = [*fixed, *self.overrides, *more]
        return compose("tune", TrainConfig, given)

    @contextmanager
    def open(self, *more: str) -> Iterator[tuple[OpenStudy, StudyTrials]]:
        """What a driver has while it lives; nothing of it is told that it ends."""
        config = self.compose(*more)

        def recompose(values: Mapping[str, Any]) -> TrainConfig:
            return self.compose(*more, *overrides_of(values))

        space = checked_space(config.tuning.space, recompose)
        with open_study(config, space, self.version) as opened:
            folder = opened.folder
            trials = StudyTrials(
                opened.study, config, recompose, self.version, folder, self.seen.append
            )
            with trials:
                yield opened, trials

    def run(self, trials: StudyTrials, plan: TrialPlan, dies_after: int | None = None) -> None:
        """Train a trial to its end, or for so many steps."""
        task = plan.job.build()
        worker = TrialWorker(
            tables_of(self.version, task), task, plan.job.run_dir, dies_after=dies_after
        )
        worker.tell = lambda epoch, score: trials.report(plan.number, epoch, score)
        try:
            result = fit(task, worker, plan.job.recipe)
        except PrunedError:
            return
        finally:
            self.steps[plan.number] = [
                event["step"] for event in worker.events if event["kind"] == "step"
            ]
        row = tables_of(self.version, task)["train"].slice(0, 1)
        values = measured(plan.objectives, task, result, row)
        trials.complete(plan.number, Ending(values, result.epochs, 1.0, result.metrics))

    def cut_off(self, trials: StudyTrials, plan: TrialPlan, after: int) -> None:
        """Train a trial for so many steps; its process then dies."""
        try:
            self.run(trials, plan, dies_after=after)
        except CutOffError:
            return
        raise AssertionError("the trial ended before it was to die")

    def go(self, *more: str, count: int | None = None) -> list[TrialPlan]:
        """Run so many trials, one after another, or all that there are."""
        done: list[TrialPlan] = []
        with self.open(*more) as (_, trials):
            while (count is None or len(done) < count) and (plan := trials.next()) is not None:
                self.run(trials, plan)
                done.append(plan)
            assert count is not None or trials.is_over
        return done

    def checkpoints(self, study: str = "search") -> list[str]:
        """The runs of a study that still have theirs."""
        runs = self.storage / "runs"
        return sorted(
            folder.name
            for folder in runs.glob(f"{study}-*")
            if any((folder / "checkpoints").glob("step-*"))
        )
