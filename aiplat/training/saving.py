"""Saving a run beside its training: ranks copy their state at a step, rank 0 writes it from there.

What was saved counts once it is complete in the storage; until then the checkpoint before does.
"""

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from aiplat.store import files
from aiplat.training.background import Background
from aiplat.training.cadence import Cadence, SaveCost
from aiplat.training.checkpoint import CheckpointError, Checkpoints
from aiplat.training.collective import broadcast_object, gather_objects
from aiplat.training.config import CheckpointConfig
from aiplat.training.hostcopy import HostCopy
from aiplat.training.learner import Learner
from aiplat.training.records import RowIds, SampleRecord
from aiplat.training.samples import Ledger
from aiplat.training.seeding import random_state
from aiplat.training.snapshot import Position, Shards, Snapshot
from aiplat.training.worker import Worker

SAVED_AS_ASKED = "as was asked"


class Saver:
    """The saves of a run, of which one at most is under way. Every rank has one."""

    def __init__(self, worker: Worker, config: CheckpointConfig, maximize: bool) -> None:
        self.worker = worker
        self.checkpoints = Checkpoints(worker.run_dir, config.keep_best, maximize)
        self.record = SampleRecord(worker.run_dir, worker.rank)
        self.cadence = Cadence(config, worker.save_requested)
        self.host_copy, self.best_copy = HostCopy(), HostCopy()
        self.background = Background("checkpoint")
        # What is said once the save under way counts, and what waits for the next save.
        self.announced: list[dict[str, Any]] = []
        self.put_off: list[dict[str, Any]] = []
        self.best: Snapshot | None = None
        self.cost: SaveCost | None = None

    def due(self, step: int) -> bool:
        """Whether to save now; every rank asks after every step.

        Raises what the last save raised, on rank 0.
        """
        if not self.background.is_busy:
            self.wait()
        return self.cadence.due(step, self.background.is_busy)

    def announce(self, event: dict[str, Any]) -> None:
        """Have an event logged once the next checkpoint counts."""
        if self.worker.rank == 0:
            self.put_off.append(event)

    def save_epoch(self, position: Position, ledger: Ledger, learner: Learner) -> None:
        """Save the end of an epoch that is not the last one, or keep it in memory.

        Every rank calls it.
        """
        if learner.shards is not None or self.cadence.epoch_due():
            self.save(position, ledger, learner)
        elif position.best_step == position.step:
            random_states = gather_objects(random_state(self.worker.device))
            if self.worker.rank == 0:
                # The one before may be on its way to the storage.
                self.wait()
                self.best = self._taken(self.best_copy, position, ledger, learner, random_states)

    def save(self, position: Position, ledger: Ledger, learner: Learner) -> None:
        """Take the run as it stands and begin to write it; every rank calls it.

        Waits for the save before, and raises what that one raised.
        """
        began_at = time.monotonic()
        row_ids = self.record.gathered()
        random_states = gather_objects(random_state(self.worker.device))
        shards = None
        if learner.shards is not None:
            shards = self._save_shards(position.step, learner.shards)
        if self.worker.rank == 0:
            self.wait()
            taken = self._taken(self.host_copy, position, ledger, learner, random_states)
            best, self.best = self.best, None
            # An epoch that another one was better than is of no more use.
            kept = [best] if best is not None and best.position.step == position.best_step else []
            snapshots = [*kept, replace(taken, shards=shards)]
            self.announced, self.put_off = self.put_off, []
            held_up_s = time.monotonic() - began_at
            self.background.start(lambda: self._write(snapshots, row_ids, began_at, held_up_s))
        self._save_at_once(position.step)
        self.cadence.saved()

    def wait(self) -> None:
        """Return when nothing is under way; raises what the last save raised, on rank 0."""
        self.background.wait()
        announced, self.announced = self.announced, []
        for event in announced:
            self.worker.log(event)
        cost, self.cost = self.cost, None
        text = None if cost is None else self.cadence.measured(cost)
        if text is not None:
            self._note(text)

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Whatever ends the block, a save under way is completed first, or its fault said."""
        try:
            yield
        except BaseException:
            try:
                self.wait()
            except Exception as fault:
                self._note(f"{fault}")
            raise

    def _save_at_once(self, step: int) -> None:
        if self.cadence.at_once and self.worker.rank == 0:
            self.wait()
            self._note(f"saved at step {step}, {SAVED_AS_ASKED}")

    @staticmethod
    def _taken(
        copier: HostCopy,
        position: Position,
        ledger: Ledger,
        learner: Learner,
        random_states: list[Any],
    ) -> Snapshot:
        """The run as it stands, in host memory."""
        state = {**learner.state_dict(), "random": random_states}
        weights = {} if learner.shards is not None else learner.model.state_dict()
        taken = copier.take(weights, state)
        return Snapshot(replace(position), copy.deepcopy(ledger), *taken)

    def _write(
        self, snapshots: list[Snapshot], row_ids: RowIds, began_at: float, held_up_s: float
    ) -> None:
        """On the background thread: what is recorded becomes valid with the last of them."""
        position = snapshots[-1].position
        self.best_copy.wait()
        self.host_copy.wait()
        self.record.write(position.epoch, position.step, row_ids)
        for snapshot in snapshots:
            self.checkpoints.save(snapshot)
        self.cost = SaveCost(held_up_s, time.monotonic() - began_at)

    def _save_shards(self, step: int, shards: Shards) -> str:
        """Every rank writes its part of the state; the answer is where."""
        place = broadcast_object(self.checkpoints.place_for_shards(step))
        fault = None
        try:
            with files.filled(place) as folder:
                shards.save(folder)
        except OSError as error:
            fault = f"rank {self.worker.rank} cannot write {place}: {error}"
        faults = [found for found in gather_objects(fault) if found]
        if faults:
            raise CheckpointError(
                f"{'; '.join(faults)}; free some space or mend the storage, then start the run "
                "again: it continues from the last checkpoint"
            )
        return place

    def _note(self, text: str) -> None:
        self.worker.log({"kind": "note", "text": text})
