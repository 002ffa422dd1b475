"""What went wrong in a run, as each rank tells it in the run's folder, and which of it came first.

A rank writes before it raises: whoever started the ranks reads what they told, even of those that
died of what another one did.
"""

import errno
import json
import re
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

from aiplat.errors import AiplatError, DataError
from aiplat.store import files
from aiplat.training.checkpoint import CheckpointError
from aiplat.training.collective import GroupEndedError
from aiplat.training.divergence import DivergenceError

Cause = Literal["oom", "nan", "code", "lost", "preempted", "data", "stall", "disk"]

_MAX_LENGTH = 600
# What torch raises as plain RuntimeErrors; the CPU allocator has no type of its own.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc", "cannot allocate memory")
# What a rank meets when another one is gone.
_OF_PEERS = (
    "gloo",
    "nccl",
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "wait timeout",
    "socket timeout",
)
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class MemoryShortError(AiplatError):
    """A step did not fit into memory. is_answered: the next attempt takes smaller micro-batches."""

    is_answered = False


@dataclass(frozen=True)
class Fault:
    """What one rank met, or what was found out about it.

    text: one line. rank, step: None where they are not known. at: unix time of whoever tells it.
    error: the type of the exception, where there was one. is_consequence: met because of what
    another rank did. is_answered: the run's folder was changed so that the next attempt does not
    meet it again. is_blameless: the cluster's doing, such as the loss of a node. progress: of a
    rank that hangs, how far it came compared with the others. details: the traceback.
    """

    cause: Cause
    text: str
    rank: int | None = None
    step: int | None = None
    at: float = field(default_factory=time.time)
    error: str = ""
    is_consequence: bool = False
    is_answered: bool = False
    is_blameless: bool = False
    progress: float = 0.0
    details: str = ""

    @property
    def line(self) -> str:
        """All of it in one line."""
        step = "" if self.step is None else f" at step {self.step}"
        rank = "" if self.rank is None else f" on rank {self.rank}"
        return f"{self.cause}{step}{rank}: {self.text}"

    def event(self) -> dict[str, Any]:
        """The event of kind `failure`."""
        return {
            "kind": "failure",
            "cause": self.cause,
            "text": self.line,
            "rank": self.rank,
            "step": self.step,
            "at": self.at,
        }


def fault_of(error: BaseException, rank: int | None = None, step: int | None = None) -> Fault:
    """The fault that an exception tells of."""
    cause, is_consequence = _cause(error)
    name = type(error).__name__
    text = one_line(error)
    if cause in ("code", "lost"):
        text = f"{name}: {text}"
    return Fault(
        cause=cause,
        text=text,
        rank=getattr(error, "rank", rank),
        step=getattr(error, "step", step),
        error=name,
        is_consequence=is_consequence,
        is_answered=getattr(error, "is_answered", False),
        details="".join(traceback.format_exception(error)),
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or this machine had no memory left, whoever passed the error on."""
    return any(_is_memory_error(link) for link in _chain(error))


def first_cause(faults: Sequence[Fault]) -> Fault:
    """What made all the others happen: the earliest fault that is nobody else's consequence.

    Of ranks that hang together it is the one that came least far: the others wait for it.
    """
    own = [fault for fault in faults if not fault.is_consequence] or list(faults)
    first = min(own, key=lambda fault: fault.at)
    if first.cause == "stall":
        stalled = [fault for fault in own if fault.cause == "stall"]
        first = min(stalled, key=lambda fault: (fault.progress, fault.at))
    return first


def write_fault(run_dir: str, fault: Fault) -> None:
    """Leave it for whoever looks after the run. What a rank told before is overwritten."""
    files.write_json(files.join(_folder(run_dir), f"rank-{fault.rank:05d}.json"), asdict(fault))


def read_faults(run_dir: str) -> list[Fault]:
    """What the ranks told since the last `clear_faults`, by rank."""
    folder, faults = _folder(run_dir), []
    for name in files.list_files(folder):
        try:
            faults.append(Fault(**files.read_json(files.join(folder, name))))
        except (json.JSONDecodeError, TypeError, FileNotFoundError):
            # Somebody died writing it.
            continue
    return faults


def clear_faults(run_dir: str) -> None:
    """Forget what ranks of earlier attempts told."""
    files.remove_folder(_folder(run_dir))


def one_line(error: object) -> str:
    """What an error says, its lines joined and cut at a length that one can read."""
    text = re.sub(r"\s+", " ", str(error)).strip()
    return text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 3]}..."


def _cause(error: BaseException) -> tuple[Cause, bool]:
    """The cause, and whether another rank is to blame."""
    if isinstance(error, MemoryShortError) or is_out_of_memory(error):
        return "oom", False
    if isinstance(error, DivergenceError):
        return "nan", False
    if isinstance(error, DataError):
        return "data", False
    if _is_of_disks(error):
        return "disk", False
    if _is_of_peers(error) or type(error).__module__.partition(".")[0] == "ray":
        return "lost", True
    return "code", False


def _is_memory_error(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    return type(error) is RuntimeError and any(part in text for part in _OUT_OF_MEMORY)


def _is_of_disks(error: BaseException) -> bool:
    return isinstance(error, CheckpointError) or (
        isinstance(error, OSError) and error.errno in _OF_DISKS
    )


def _is_of_peers(error: BaseException) -> bool:
    if isinstance(error, GroupEndedError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(part in text for part in _OF_PEERS)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _folder(run_dir: str) -> str:
    return files.join(run_dir, "faults")
