"""The checkpoint folders of a run: written whole, verified before use, few at a time."""

import hashlib
import json
import math
from dataclasses import dataclass

from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.training.snapshot import POSITION, Snapshot

COMPLETE = "COMPLETE.json"
FORMAT = 1
_PREFIX = "step-"
# The one before the last is what a run falls back to if the last is damaged.
_KEEP_LAST = 2


class CheckpointError(AiplatError):
    """A checkpoint is incomplete, damaged or cannot be written."""


@dataclass
class Checkpoints:
    """The checkpoints of a run, by step.

    keep_best: how many to keep for their score, besides the last ones.
    """

    run_dir: str
    keep_best: int = 1
    maximize: bool = True

    def save(self, snapshot: Snapshot) -> None:
        """Write a checkpoint that is there wholly or not at all, then drop those of no more use.

        Raises CheckpointError naming the path where it cannot be written; older ones stay.
        """
        target = self.folder(snapshot.position.step)
        parts = snapshot.to_files()
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}
        try:
            with files.draft_folder(target, COMPLETE) as draft:
                for name, data in parts.items():
                    files.write_bytes(files.join(draft, name), data)
                files.write_json(files.join(draft, COMPLETE), {"format": FORMAT, "files": hashes})
        except OSError as error:
            raise CheckpointError(
                f"cannot write checkpoint {target}: {error}; free some space or mend the storage, "
                "then start the run again: it continues from the checkpoint before"
            ) from error
        self._prune(snapshot.position.best_step)

    def load(self, step: int) -> Snapshot:
        """Read and verify a checkpoint. CheckpointError says what is damaged."""
        folder = self.folder(step)
        try:
            marker = files.read_json(files.join(folder, COMPLETE))
            hashes, form = marker["files"], marker["format"]
            parts = {name: files.read_bytes(files.join(folder, name)) for name in hashes}
        except FileNotFoundError as error:
            raise CheckpointError(f"checkpoint {folder} is incomplete: {error}") from error
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise CheckpointError(f"checkpoint {folder}: {COMPLETE} is damaged") from error
        if form != FORMAT:
            # Not a damage to recover from by going back: another aiplat can read it.
            raise AiplatError(
                f"checkpoint {folder} has format {form}, this aiplat reads {FORMAT}; continue the "
                "run with the version of aiplat that wrote it, or start another with name="
            )
        for name, expected in hashes.items():
            if hashlib.sha256(parts[name]).hexdigest() != expected:
                raise CheckpointError(f"checkpoint {folder}: {name} does not match its hash")
        return Snapshot.from_files(parts)

    def newest(self) -> tuple[int | None, list[str]]:
        """The step of the last usable checkpoint, and what is to be said of unusable later ones."""
        faults = []
        for step in reversed(self.steps()):
            try:
                self.load(step)
            except CheckpointError as error:
                faults.append(str(error))
                continue
            return step, [f"{fault}; going back to step {step}" for fault in faults]
        return None, [f"{fault}; no earlier one is left: starting over" for fault in faults]

    def discard_after(self, step: int) -> None:
        """Roll back: forget what was saved after `step`, and what dying writers left behind."""
        files.remove_drafts(self.root)
        for later in self.steps():
            if later > step:
                files.remove_folder(self.folder(later))

    def steps(self) -> list[int]:
        """The steps that have a folder, whole or not, in order."""
        names = [name for name in files.list_folders(self.root) if name.startswith(_PREFIX)]
        return sorted(int(name.removeprefix(_PREFIX)) for name in names)

    @property
    def root(self) -> str:
        """Where the checkpoints lie."""
        return files.join(self.run_dir, "checkpoints")

    def folder(self, step: int) -> str:
        """Where the checkpoint of a step lies."""
        return files.join(self.root, f"{_PREFIX}{step:08d}")

    def _prune(self, best_step: int) -> None:
        steps = self.steps()
        scored = [(score, step) for step in steps if (score := self._score(step)) is not None]
        ranked = [step for _, step in sorted(scored, reverse=self.maximize)]
        kept = {best_step, *steps[-_KEEP_LAST:], *ranked[: self.keep_best]}
        for step in steps:
            if step not in kept:
                files.remove_folder(self.folder(step))

    def _score(self, step: int) -> float | None:
        try:
            position = files.read_json(files.join(self.folder(step), POSITION))
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        score: float | None = position["score"]
        return None if score is None or math.isnan(score) else score
