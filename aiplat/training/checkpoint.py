"""The checkpoint folders of a run: written whole, verified before use, few at a time."""

import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiplat.errors import AiplatError
from aiplat.store import files
from aiplat.training.snapshot import POSITION, STATE, TRAINED, Snapshot

COMPLETE = "COMPLETE.json"
SHARDS = "shards"
FORMAT = 1
_PREFIX = "step-"
# The one before the last is what a run falls back to if the last is damaged.
_KEEP_LAST = 2


class CheckpointError(AiplatError):
    """A checkpoint is incomplete, damaged or cannot be written."""


@contextmanager
def writing(target: str) -> Iterator[None]:
    """What the storage refuses within is a CheckpointError that names `target`."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"cannot write {target}: {error}; free some space or mend the storage, then start the "
            "run again: it continues from the last checkpoint"
        ) from error


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
        with writing(target), files.draft_folder(target, COMPLETE) as draft:
            with files.filled(draft) as folder:
                snapshot.write(folder)
                hashes = files.folder_hashes(str(folder))
            if snapshot.shards is not None:
                hashes |= self._take_in(snapshot.shards, files.join(draft, SHARDS))
            files.write_json(files.join(draft, COMPLETE), {"format": FORMAT, "files": hashes})
        self._prune(snapshot.position.best_step)

    def place_for_shards(self, step: int) -> str:
        """Where ranks write what they hold parts of, before `save` makes it count."""
        if files.is_remote(self.root):
            return files.join(self.folder(step), SHARDS)
        return files.join(self.root, f".{SHARDS}-{step:08d}.{uuid.uuid4().hex}")

    def verify(self, step: int) -> None:
        """Raise CheckpointError, saying what is damaged, unless every file is as it was written."""
        folder = self.folder(step)
        hashes = self._hashes(step)
        for name in sorted({POSITION, STATE, TRAINED, *hashes}):
            try:
                found = files.content_hash(files.join(folder, name))
            except FileNotFoundError as error:
                raise CheckpointError(f"checkpoint {folder} is incomplete: {error}") from error
            if hashes.get(name) != found:
                raise CheckpointError(f"checkpoint {folder}: {name} does not match its hash")

    def load(self, step: int, verify: bool = True) -> Snapshot:
        """Read a checkpoint. CheckpointError says what is damaged."""
        if verify:
            self.verify(step)
        folder, hashes = self.folder(step), self._hashes(step)
        sharded = any(name.startswith(f"{SHARDS}/") for name in hashes)
        parts = [name for name in hashes if not name.startswith(f"{SHARDS}/")]
        with files.fetched(folder, parts) as path:
            return Snapshot.read(path, files.join(folder, SHARDS) if sharded else None)

    def newest(self) -> tuple[int | None, list[str]]:
        """The step of the last usable checkpoint, and what is to be said of unusable later ones."""
        faults = []
        for step in reversed(self.steps()):
            try:
                self.verify(step)
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

    def _hashes(self, step: int) -> dict[str, str]:
        """What the marker of a checkpoint says of its files."""
        folder = self.folder(step)
        try:
            marker = files.read_json(files.join(folder, COMPLETE))
            hashes, form = dict(marker["files"]), marker["format"]
        except FileNotFoundError as error:
            raise CheckpointError(f"checkpoint {folder} is incomplete: {error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"checkpoint {folder}: {COMPLETE} is damaged") from error
        if form != FORMAT:
            # Not a damage to recover from by going back: another aiplat can read it.
            raise AiplatError(
                f"checkpoint {folder} has format {form}, this aiplat reads {FORMAT}; continue the "
                "run with the version of aiplat that wrote it, or start another with name="
            )
        return hashes

    def _take_in(self, shards: str, target: str) -> dict[str, str]:
        """Make what the ranks wrote a part of a draft; the answer are its files' hashes."""
        if not files.is_remote(shards):
            Path(shards).rename(target)
        hashes = files.folder_hashes(target)
        return {f"{SHARDS}/{name}": value for name, value in hashes.items()}

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
            score: float | None = position["score"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return None if score is None or math.isnan(score) else score
