"""An end to hanging: where nothing moves for too long, every rank writes its stacks and dies.

Its thread also runs while the main one is stuck in a C call, such as a collective whose other ranks
never come. Where that call holds Python's lock as well, a timer of faulthandler, which needs no
Python, does the rest.
"""

import faulthandler
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO

from aiplat.store import files
from aiplat.training.faults import Fault, read_faults, write_fault
from aiplat.training.worker import Worker

EXIT_STALLED = 75
_MAX_INTERVAL_S = 5.0
# Where a rank waits for the others: DDP does it within the backward pass.
_WAITS = ("torch/distributed", "_engine_run_backward", "training/collective")
_NOT_TELLING = ("torch/", "threading.py", "concurrent/futures", "training/collective")


class Watchdog:
    """Watches over the thread that makes it until its block ends. stall_s: None watches nothing."""

    def __init__(self, worker: Worker, stall_s: float | None) -> None:
        self.worker = worker
        self.stall_s = stall_s or 0.0
        self.interval_s = min(_MAX_INTERVAL_S, self.stall_s / 4)
        self.watched = threading.get_ident()
        self.done = threading.Event()

    def __enter__(self) -> "Watchdog":
        if self.stall_s:
            self.path, self.stacks = _open_stacks(self.worker)
            self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self.thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self.stall_s:
            self.done.set()
            self.thread.join()
            faulthandler.cancel_dump_traceback_later()
            self.stacks.close()
            Path(self.stacks.name).unlink(missing_ok=True)

    def _watch(self) -> None:
        pulse = self.worker.pulse
        seen, moved_at = pulse.num_beats, time.monotonic()
        while True:
            # Runs out only if this thread cannot: then the process is stuck with Python's lock.
            faulthandler.dump_traceback_later(
                self.stall_s + 2 * self.interval_s, exit=True, file=self.stacks
            )
            if self.done.wait(self.interval_s):
                return
            if pulse.num_beats != seen:
                seen, moved_at = pulse.num_beats, time.monotonic()
            elif time.monotonic() - moved_at >= self.stall_s:
                self._end()

    def _end(self) -> None:
        """Tell what there is to tell, let the other ranks do so, too, and die."""
        frame = sys._current_frames()[self.watched]
        waits = any(part in _place(frame) for part in _WAITS)
        stacks = self._write_stacks()
        write_fault(
            self.worker.run_dir,
            Fault(
                cause="stall",
                text=f"no progress for {self.stall_s:g} s, {_telling(frame)}; stacks in {stacks}",
                rank=self.worker.rank,
                step=self.worker.pulse.step + 1,
                progress=self.worker.pulse.num_beats + 0.5 * waits,
            ),
        )
        self._await_others()
        os._exit(EXIT_STALLED)

    def _write_stacks(self) -> str:
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        parts = [
            f"Thread {names.get(ident, ident)}{' (training)' if ident == self.watched else ''}:\n"
            + "".join(traceback.format_stack(frame))
            for ident, frame in sys._current_frames().items()
        ]
        files.write_bytes(self.path, "\n".join(parts).encode())
        return self.path

    def _await_others(self) -> None:
        """Until all have told; one that cannot is the one that the others wait for."""
        run_dir, world_size = self.worker.run_dir, self.worker.world_size
        give_up_at = time.monotonic() + 2 * self.interval_s + 1
        while time.monotonic() < give_up_at:
            told = {fault.rank for fault in read_faults(run_dir)}
            silent = [rank for rank in range(world_size) if rank not in told]
            if not silent:
                return
            time.sleep(self.interval_s / 4)
        for rank in silent:
            text = "it does not answer: its process is frozen, or a C call holds Python's lock"
            fault = Fault("stall", text, rank, self.worker.pulse.step + 1, progress=-1.0)
            write_fault(run_dir, fault)


def _open_stacks(worker: Worker) -> tuple[str, IO[str]]:
    """Where this rank's stacks go, and a local file for the timer, which must be open before.

    What the timer of an earlier attempt wrote is brought to light.
    """
    name = f"stacks-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-rank-{worker.rank}.txt"
    path = files.join(worker.run_dir, "logs", name)
    if files.is_remote(path):
        return path, tempfile.NamedTemporaryFile("w", delete=False)
    folder = Path(path).parent
    folder.mkdir(parents=True, exist_ok=True)
    for earlier in folder.glob(f".stacks-*-rank-{worker.rank}.txt"):
        if earlier.stat().st_size:
            earlier.rename(earlier.with_name(earlier.name.removeprefix(".")))
        else:
            earlier.unlink()
    return path, (folder / f".{name}").open("w")


def _place(frame: FrameType) -> str:
    return f"{frame.f_code.co_filename} {frame.f_code.co_name}"


def _telling(frame: FrameType) -> str:
    """The innermost function that is not part of the machinery, in words."""
    found: FrameType | None = frame
    while found is not None and any(part in _place(found) for part in _NOT_TELLING):
        found = found.f_back
    found = found or frame
    return f"in {found.f_code.co_qualname} ({found.f_code.co_filename}:{found.f_lineno})"
