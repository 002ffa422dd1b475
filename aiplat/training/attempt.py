"""One attempt at a run: from its start, or its last checkpoint, to its end or the next fault."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

from aiplat.errors import ConfigError, DataError
from aiplat.store import files
from aiplat.tasks.task import Batch, Task
from aiplat.training.adjustments import read_adjustments
from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.collective import broadcast_object
from aiplat.training.divergence import LossWatch
from aiplat.training.evaluation import Evaluation, evaluate
from aiplat.training.faults import Fault
from aiplat.training.hooks import hooks_of
from aiplat.training.learner import make_learner
from aiplat.training.meter import Meter
from aiplat.training.precision import choose_precision
from aiplat.training.profile import Profile
from aiplat.training.recipe import Recipe, check_recipe
from aiplat.training.result import FitResult, weights_at, write_result
from aiplat.training.samples import Ledger, StepPlan, epoch_order, plan_steps
from aiplat.training.saving import Saver
from aiplat.training.seeding import restore_random_state, seed_everything
from aiplat.training.snapshot import Position, Snapshot, consolidated
from aiplat.training.step import StepOutcome
from aiplat.training.worker import Worker, reading


class Attempt:
    """What the steps of a run share, and what happens around them."""

    def __init__(self, task: Task, worker: Worker, recipe: Recipe) -> None:
        check_recipe(recipe, task, worker)
        self.began_at = time.monotonic()
        self.task, self.worker, self.given = task, worker, recipe
        self.hooks = hooks_of(task)
        self.adjustments = broadcast_object(read_adjustments(worker.run_dir))
        self.recipe = recipe = self.adjustments.applied(recipe)
        self.num_rows = worker.num_rows("train")
        self.saver = Saver(worker, recipe.checkpoint, maximize=task.maximize)
        is_scaled = choose_precision(recipe.loop.precision, worker.device).scaler is not None
        losses = LossWatch(worker, recipe.loop.on_nan, is_scaled)
        self.meter = Meter(worker, recipe.loop.log_every_steps, losses)
        seed_everything(recipe.seed, worker.rank)
        self._begin(self._roll_back())
        self.profile = Profile(worker, recipe.loop.profiled_steps)
        self.learner.phase = self.profile.phase

    @property
    def stopped_because(self) -> str | None:
        """Why there is nothing more to train; None while there is."""
        loop = self.recipe.loop
        if self.position.epoch > loop.max_epochs:
            return "max_epochs"
        if loop.max_steps is not None and self.position.step >= loop.max_steps:
            return "max_steps"
        if loop.early_stop_epochs and self.position.epochs_since_best >= loop.early_stop_epochs:
            return "early_stop"
        return None

    @contextmanager
    def epoch(self) -> Iterator[tuple[Iterator[StepPlan], Iterator[Batch]]]:
        """The steps that are left of the epoch, and this rank's micro-batches of them all."""
        dataset = self.recipe.dataset
        order = epoch_order(
            self.num_rows, self.recipe.seed, self.position.epoch, shuffle=dataset.shuffle
        )
        remaining = self.ledger.remaining(order)
        plan = (positions for step in self._plans(remaining) for positions in step.micro_batches)
        with reading(self.worker, "train", plan, augment=self.recipe.loop.augment) as batches:
            self.learner.loss.train()
            self.hooks.begin_epoch()
            self.meter.restart()
            self.profile.restart()
            yield self._plans(remaining), batches

    def after_step(self, plan: StepPlan, outcome: StepOutcome) -> None:
        """Account for a step, and save where that is due."""
        self.position.step += 1
        self.worker.pulse.beat(self.position.step)
        self.position.rows_seen += len(plan.positions)
        self.ledger.mark(plan.positions)
        self.saver.record.add(outcome.row_ids)
        self.meter.add(self.position.epoch, self.position.step, outcome)
        if not self._is_last_step and self.saver.due(self.position.step):
            with self.profile.phase("checkpoint"):
                self._save()
        self.profile.after_step(outcome.num_rows)

    def after_epoch(self) -> None:
        """Check the epoch, evaluate it and save."""
        position, record = self.position, self.saver.record
        epoch = position.epoch
        self.meter.check()
        metrics = self._evaluated().metrics if self._is_evaluated(epoch) else {}
        trained = self.hooks.end_epoch(metrics)
        self.saver.wait()
        record.write(epoch, position.step, record.gathered())
        if self.ledger.is_complete:
            record.close_epoch(epoch, self.num_rows)
        self._compare_with_best(metrics)
        if self.ledger.is_complete:
            position.epoch += 1
            self.ledger.clear()
        event = {**metrics, "kind": "epoch", "epoch": epoch, "step": position.step}
        told = {**event, "train": trained} if trained else event
        self.saver.announce(told)
        if self.stopped_because is None:
            self.saver.save_epoch(position, self.ledger, self.learner)
        else:
            self.saver.save(position, self.ledger, self.learner)
        position.score = None
        self.worker.report({**metrics, "epoch": epoch, "step": position.step})

    def split(self, fault: Fault) -> None:
        """Go on with micro-batches of half the size, from the step that did not fit."""
        self.learner.optimizer.zero_grad(set_to_none=True)
        self.adjustments = self.adjustments.halved()
        self.recipe = self.adjustments.applied(self.given)
        self._log(fault.event())

    def finish(self) -> FitResult:
        """Load the best weights into the model, measure them, and mark the run as finished."""
        position = self.position
        self.saver.wait()
        self.profile.finish()
        self._load_best()
        split = next((split for split in ("test", "val") if self.worker.num_rows(split)), None)
        measured = self._measure(split) if split else Evaluation()
        result = FitResult(
            best_step=position.best_step,
            epochs=position.epoch - 1,
            steps=position.step,
            rows_seen=position.rows_seen,
            attempts=position.attempts,
            stopped_because=self.stopped_because or "max_epochs",
            seconds=time.monotonic() - self.began_at,
            metrics=position.best_metrics,
            test_metrics=measured.metrics if split == "test" else {},
            tensors=measured.tensors,
            tensors_of=split,
        )
        self.hooks.end()
        if self.worker.rank == 0:
            write_result(self.worker.run_dir, result)
        return result

    def _load_best(self) -> None:
        position, run_dir = self.position, self.worker.run_dir
        # Also keeps the other ranks from reading before rank 0 has written.
        position.best_step = broadcast_object(position.best_step)
        try:
            weights = weights_at(run_dir, position.best_step)
        except CheckpointError as error:
            self._log({"kind": "note", "text": f"{error}; taking the last weights instead"})
            position.best_step = position.step
            weights = weights_at(run_dir, position.step)
            position.best_metrics = {}
        self.learner.hand_over(weights)
        if not position.best_metrics and self.worker.num_rows("val"):
            position.best_metrics = self._measure("val").metrics

    @property
    def _is_last_step(self) -> bool:
        return self.ledger.is_complete or self.position.step == self.recipe.loop.max_steps

    def _plans(self, remaining: Any) -> Iterator[StepPlan]:
        loop, worker = self.recipe.loop, self.worker
        steps = plan_steps(
            remaining,
            self.recipe.batch_size,
            self.recipe.accumulate(worker.world_size),
            worker.rank,
            worker.world_size,
        )
        left = None if loop.max_steps is None else loop.max_steps - self.position.step
        skipped, first = self.adjustments.skipped, self.position.step + 1
        return (
            replace(plan, is_skipped=step in skipped)
            for step, plan in enumerate(islice(steps, left), first)
        )

    def _is_evaluated(self, epoch: int) -> bool:
        loop = self.recipe.loop
        last = epoch == loop.max_epochs or self.position.step == loop.max_steps
        due = last or epoch % loop.eval_every_epochs == 0
        return due and self.worker.num_rows("val") > 0

    def _evaluated(self) -> Evaluation:
        with self.learner.evaluated():
            evaluation = self._measure("val")
        if self.task.primary not in evaluation.metrics:
            names = ", ".join(evaluation.metrics)
            raise ConfigError(
                f"task.primary is {self.task.primary!r}, expected one of its metrics: {names}"
            )
        return evaluation

    def _measure(self, split: str) -> Evaluation:
        rows = self.recipe.micro_batch_rows(self.worker.world_size)
        self.hooks.begin_split(split)
        evaluation = evaluate(self.task, self.worker, split, rows)
        evaluation.metrics |= self.hooks.end_split(split)
        return evaluation

    def _compare_with_best(self, metrics: dict[str, float]) -> None:
        position, score = self.position, metrics.get(self.task.primary)
        position.score = score
        if score is None:
            # Without validation the latest weights are the best there are.
            if not self.worker.num_rows("val"):
                position.best_step = position.step
            return
        if self._is_best(score):
            position.best_step, position.best_score = position.step, score
            position.best_metrics, position.epochs_since_best = metrics, 0
        else:
            position.epochs_since_best += 1

    def _is_best(self, score: float) -> bool:
        best = self.position.best_score
        # NaN is better than nothing, and anything is better than NaN.
        if best is None or math.isnan(best):
            return True
        return score > best if self.task.maximize else score < best

    def _save(self) -> None:
        self.meter.check()
        self.saver.save(self.position, self.ledger, self.learner)
        self.position.score = None

    def _roll_back(self) -> Snapshot | None:
        """The last usable checkpoint, after discarding whatever was done since."""
        checkpoints, record = self.saver.checkpoints, self.saver.record
        step, notes = None, list[str]()
        if self.worker.rank == 0:
            step, notes = checkpoints.newest()
            checkpoints.discard_after(step or 0)
            record.discard_after(step or 0)
        step, notes = broadcast_object((step, notes))
        for note in notes:
            self._log({"kind": "note", "text": note})
        return None if step is None else checkpoints.load(step, verify=False)

    def _begin(self, snapshot: Snapshot | None) -> None:
        worker, total_steps = self.worker, self.recipe.total_steps(self.num_rows)
        inherited = self._inherited() if snapshot is None else None
        if snapshot is None:
            self.position = Position(self.num_rows, total_steps, worker.world_size)
            self.ledger = Ledger(self.num_rows)
            if inherited is not None:
                self.task.model.load_state_dict(inherited.weights)
        else:
            self._check_same(snapshot.position, total_steps)
            self.position, self.ledger = snapshot.position, snapshot.ledger
            self.position.attempts += 1
            self.position.world_size = worker.world_size
            if snapshot.weights:
                self.task.model.load_state_dict(snapshot.weights)
        self.hooks.begin(self.position, self.recipe, worker.rank, worker.device)
        self.learner = make_learner(self.task, worker, self.recipe, total_steps)
        if snapshot is not None:
            self._continue(snapshot)
        elif inherited is not None:
            self.learner.inherit(inherited.state)
        worker.pulse.beat(self.position.step)
        self._log(self._start_event())
        for note in self.hooks.notes():
            self._log({"kind": "note", "text": note})

    def _inherited(self) -> Snapshot | None:
        """Where another run ended, if this one is to begin there."""
        folder = self.recipe.begin_from
        if folder is None:
            return None
        checkpoints = Checkpoints(folder)
        step, _ = checkpoints.newest()
        if step is None:
            raise CheckpointError(f"{folder} has no checkpoint to begin from")
        snapshot = checkpoints.load(step, verify=False)
        self._log({"kind": "note", "text": f"begins with the weights of step {step} of {folder}"})
        return consolidated(snapshot) if snapshot.shards else snapshot

    def _continue(self, snapshot: Snapshot) -> None:
        if snapshot.shards and self.learner.shards is None:
            snapshot = consolidated(snapshot)
            self.task.model.load_state_dict(snapshot.weights)
        self.learner.load_state_dict(snapshot.state)
        self._load_shards(snapshot.shards)
        self._continue_random_numbers(snapshot.state["random"])

    def _load_shards(self, shards: str | None) -> None:
        if shards is not None and self.learner.shards is not None:
            with files.fetched(shards) as folder:
                self.learner.shards.load(folder)

    def _continue_random_numbers(self, states: list[dict[str, Any]]) -> None:
        worker = self.worker
        if len(states) == worker.world_size:
            restore_random_state(states[worker.rank], worker.device)
        else:
            seed_everything(self.recipe.seed, worker.rank, self.position.step)

    def _check_same(self, position: Position, total_steps: int) -> None:
        if position.num_rows != self.num_rows:
            raise DataError(
                f"the run in {self.worker.run_dir} began with {position.num_rows} rows to train "
                f"on and the dataset now has {self.num_rows}; set dataset.version to that of the "
                "run, or start another run with name="
            )
        if position.total_steps != total_steps:
            raise ConfigError(
                f"the run in {self.worker.run_dir} was planned for {position.total_steps} steps "
                f"and the configuration now makes {total_steps}; set dataset.batch_size, "
                "loop.max_epochs and loop.max_steps back, or start another run with name="
            )

    def _start_event(self) -> dict[str, Any]:
        position, worker = self.position, self.worker
        return {
            "kind": "start",
            "epoch": position.epoch,
            "step": position.step,
            "max_epochs": self.recipe.loop.max_epochs,
            "total_steps": position.total_steps,
            "steps_per_epoch": self.recipe.steps_per_epoch(self.num_rows),
            "num_rows": {split: worker.num_rows(split) for split in ("train", "val", "test")},
            "batch_size": self.recipe.batch_size,
            "world_size": worker.world_size,
            "accumulate": self.recipe.accumulate(worker.world_size),
            "attempt": position.attempts,
            "strategy": worker.strategy,
            "precision": self.learner.precision.name,
        }

    def _log(self, event: dict[str, Any]) -> None:
        if self.worker.rank == 0:
            self.worker.log(event)
