"""Where the time of a step goes: its phases timed over some steps, then a few steps traced."""

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from aiplat.store import files
from aiplat.training.collective import gather_objects
from aiplat.training.worker import Worker

PHASES = ("data wait", "forward", "backward", "optimizer", "checkpoint")
FOLDER = "profile"
SUMMARY = "summary.json"

# The first steps allocate, choose kernels and wait for a loader that has only begun.
_WARM_STEPS = 5
# Traced apart from the timed ones, which tracing would slow down.
_TRACED_STEPS = 3
_NOTHING = nullcontext()


class Profile:
    """Times the phases of `num_steps` steps of an attempt and says where the time went.

    With 0 steps it does nothing. On an accelerator every phase waits for what it began to end,
    so that the time is counted where it is spent; profiled steps are slower for that.
    """

    def __init__(self, worker: Worker, num_steps: int) -> None:
        self.worker = worker
        self.num_steps = num_steps
        self.num_seen = 0
        self.num_timed = 0
        self.num_rows = 0
        self.is_done = num_steps == 0
        self.seconds = dict.fromkeys((*PHASES, "other"), 0.0)
        self.tracer: Any = None
        self.restart()

    def restart(self) -> None:
        """Leave out what was not training since the last step."""
        self.since = time.perf_counter()
        self.counted_s = sum(self.seconds[phase] for phase in PHASES)

    def phase(self, name: str) -> AbstractContextManager[Any]:
        """Count the time of the block as that of a phase, one of `PHASES`."""
        if self.tracer is not None:
            return record_function(name)
        return self._timed(name) if self._is_timing else _NOTHING

    def after_step(self, num_rows: int) -> None:
        """End a step. Every rank calls it equally often."""
        if self.is_done:
            return
        if self._is_timing:
            self._count(num_rows)
        self.num_seen += 1
        if self.num_timed == self.num_steps and self.tracer is None:
            self.tracer = profile(activities=_activities(self.worker.device))
            self.tracer.start()
        elif self.num_seen == _WARM_STEPS + self.num_steps + _TRACED_STEPS:
            self.finish()
        self.restart()

    def finish(self) -> None:
        """Report what was seen so far, once; every rank calls it."""
        if self.is_done:
            return
        self.is_done = True
        folder = files.join(self.worker.run_dir, FOLDER)
        if self.tracer is not None:
            self.tracer.stop()
            self._write_trace(folder)
            self.tracer = None
        if self.num_timed:
            self._report(folder)

    @property
    def _is_timing(self) -> bool:
        return not self.is_done and _WARM_STEPS <= self.num_seen < _WARM_STEPS + self.num_steps

    @contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        if self.worker.device.type == "cuda":
            torch.cuda.synchronize(self.worker.device)
        self.seconds[name] += time.perf_counter() - began

    def _count(self, num_rows: int) -> None:
        counted = sum(self.seconds[phase] for phase in PHASES) - self.counted_s
        self.seconds["other"] += max(0.0, time.perf_counter() - self.since - counted)
        self.num_timed += 1
        self.num_rows += num_rows

    def _write_trace(self, folder: str) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch, "trace.json")
            self.tracer.export_chrome_trace(str(path))
            name = f"rank-{self.worker.rank}.json"
            files.write_bytes(files.join(folder, name), path.read_bytes())

    def _report(self, folder: str) -> None:
        of_ranks = gather_objects(self.seconds)
        if self.worker.rank:
            return
        summary = summarised(of_ranks, self.num_timed, self.num_rows)
        files.write_bytes(files.join(folder, SUMMARY), json.dumps(summary, indent=2).encode())
        text = f"{described(summary)}\n  in {folder}; the traces are for ui.perfetto.dev"
        self.worker.log({"kind": "profile", "text": text, **summary})


def summarised(of_ranks: list[dict[str, float]], num_steps: int, num_rows: int) -> dict[str, Any]:
    """Milliseconds a step and share of each phase, as the mean of the ranks.

    of_ranks: seconds by phase. num_rows: of these steps over all ranks.
    """
    mean = {
        name: sum(seconds[name] for seconds in of_ranks) / len(of_ranks) for name in of_ranks[0]
    }
    total = sum(mean.values())
    return {
        "steps": num_steps,
        "ranks": len(of_ranks),
        "step_ms": 1000 * total / num_steps,
        "rows_per_s": num_rows / total,
        "ms": {name: 1000 * seconds / num_steps for name, seconds in mean.items()},
        "share": {name: seconds / total for name, seconds in mean.items()},
    }


def described(summary: dict[str, Any]) -> str:
    """The summary for people, a line a phase."""
    lines = [
        f"profile of {summary['steps']} steps, mean of {summary['ranks']} ranks: "
        f"{summary['step_ms']:.1f} ms a step, {summary['rows_per_s']:.0f} rows/s"
    ]
    lines += [
        f"  {name:10} {share:6.1%} {summary['ms'][name]:9.2f} ms"
        for name, share in summary["share"].items()
    ]
    return "\n".join(lines)


def _activities(device: torch.device) -> list[ProfilerActivity]:
    on_device = [ProfilerActivity.CUDA] if device.type == "cuda" else []
    return [ProfilerActivity.CPU, *on_device]
