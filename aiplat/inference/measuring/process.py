"""An arm in a process of its own: that it crashes or hangs is told, and nothing else happens."""

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from aiplat.inference.measuring.arm import ArmWork, serve

_END_S = 5.0
_TAIL_BYTES = 4096


class ArmError(Exception):
    """An arm failed; the text says why, for a row of the report."""


class ArmProcess:
    """One arm. It is ended with the block that opens it, or by its first failure."""

    def __init__(self, work: ArmWork) -> None:
        self.work = work
        context = multiprocessing.get_context("spawn")
        self._requests, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, work), daemon=True)
        with _threads_of_libraries(work.threads):
            self._process.start()
        theirs.close()

    def ask(self, verb: str, *arguments: Any, timeout_s: float) -> Any:
        """The answer of the process. Raises ArmError where it gives none."""
        try:
            self._requests.send((verb, arguments))
            if not self._requests.poll(timeout_s):
                self._kill()
                raise ArmError(f"gave no answer to {verb} within {timeout_s:g} s (timeout_s)")
            outcome, value = self._requests.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise ArmError(f"its process died in {verb}: {self._cause()}") from None
        if outcome == "failed":
            self.end()
            raise ArmError(_shortened(value))
        return value

    def end(self) -> None:
        """Let the process end, or end it, and the compilers that it started."""
        self._requests.close()
        self._process.join(_END_S)
        self._kill()

    def _kill(self) -> None:
        if self._process.pid is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join(_END_S)

    def _cause(self) -> str:
        self._process.join(_END_S)
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit status {code}{_last_words(self.work.log)}"
        hint = ", which is also what ends a process when memory runs out" if code == -9 else ""
        return f"{signal.Signals(-code).name}{hint}{_last_words(self.work.log)}"


@contextmanager
def _threads_of_libraries(threads: int) -> Iterator[None]:
    """What a process reads as it loads its libraries, for one that is started in the block.

    Threads that wait by turning take the CPU from other processes of the node.
    """
    settings = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _last_words(log: Path) -> str:
    if not log.is_file():
        return ""
    lines = log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip().splitlines()
    return f" ({_shortened(lines[-1])})" if lines else ""


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:297]}..."
