"""What outlives the cluster of a supervised job: `<storage>/jobs/<id>/`.

`job.json` says what it is and how it ended, `package.zip` is what travels with it, `pulse` changes
as long as somebody looks after it, `life-1.log` is what it said before it was lost the first time.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiplat.cluster.submission.submission import Submission
from aiplat.store import files

_FOLDER, _JOB, _PACKAGE, _PULSE = "jobs", "job.json", "package.zip", "pulse"
_LIFE, _LOG = "life-", ".log"


@dataclass
class Record:
    """The record of one supervised job. folder: a path or a URI."""

    folder: str

    @classmethod
    def of(cls, submission: Submission) -> "Record":
        """Where a supervised job is recorded."""
        storage = submission.supervision.storage if submission.supervision else ""
        return cls(files.join(files.absolute(storage), _FOLDER, submission.id))

    @property
    def exists(self) -> bool:
        """Whether the job was begun before."""
        return files.exists(self._at(_JOB))

    def begin(
        self, submission: Submission, runtime_env: Mapping[str, Any], package: bytes | None
    ) -> None:
        """Write down what there is to start again. package: what travels with it."""
        if package is not None:
            files.write_bytes(self._at(_PACKAGE), package)
        without = {key: value for key, value in runtime_env.items() if key != "working_dir"}
        self._write(json.loads(submission.to_json()), without, None)

    def end(self, status: str) -> None:
        """Write down that it is over, and how."""
        told = self._told()
        self._write(told["submission"], told["runtime_env"], status)

    @property
    def status(self) -> str | None:
        """How it ended; None where it did not."""
        return self._told()["status"]

    @property
    def submission(self) -> Submission:
        """What is to be started again."""
        return Submission.from_json(json.dumps(self._told()["submission"]))

    def runtime_env(self, scratch: Path) -> dict[str, Any]:
        """Its environment, with what travels with it as an archive below `scratch`."""
        runtime_env = dict(self._told()["runtime_env"])
        if files.exists(self._at(_PACKAGE)):
            archive = scratch / f"{self.folder.rpartition('/')[2]}.zip"
            archive.write_bytes(files.read_bytes(self._at(_PACKAGE)))
            runtime_env["working_dir"] = str(archive)
        return runtime_env

    @property
    def lives(self) -> list[int]:
        """Numbers of the lives that said something, in their order."""
        names = [name for name in files.list_files(self.folder) if name.startswith(_LIFE)]
        return sorted(int(name.removeprefix(_LIFE).removesuffix(_LOG)) for name in names)

    def log(self, life: int) -> str:
        """What was said in a life."""
        return files.read_bytes(self._at(f"{_LIFE}{life}{_LOG}")).decode(errors="replace")

    def write_log(self, life: int, text: str) -> None:
        """Keep what was said in a life."""
        files.write_bytes(self._at(f"{_LIFE}{life}{_LOG}"), text.encode(errors="replace"))

    def beat(self) -> None:
        """Show that somebody looks after it."""
        files.write_bytes(self._at(_PULSE), str(time.time()).encode())

    def pulse(self) -> bytes:
        """What the last beat wrote; of another machine's clock: only its changes tell something."""
        with suppress(FileNotFoundError):
            return files.read_bytes(self._at(_PULSE))
        return b""

    def _at(self, name: str) -> str:
        return files.join(self.folder, name)

    def _told(self) -> dict[str, Any]:
        return dict(files.read_json(self._at(_JOB)))

    def _write(
        self, submission: Mapping[str, Any], runtime_env: Mapping[str, Any], status: str | None
    ) -> None:
        told = {"submission": submission, "runtime_env": runtime_env, "status": status}
        files.write_json(self._at(_JOB), told)


def unfinished(storage: str) -> Iterator[Record]:
    """The records of jobs that have not ended."""
    root = files.join(files.absolute(storage), _FOLDER)
    for name in files.list_folders(root):
        record = Record(files.join(root, name))
        if record.exists and record.status is None:
            yield record
