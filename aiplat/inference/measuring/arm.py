"""The process of one arm: compiles, answers validation rows, and times passes when it is asked to.

It is started by `process.ArmProcess`, and answers one request after the other until it is ended.
"""

import gc
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aiplat.inference.measuring.results import Arm

CALIBRATION, VALIDATION = "calibration.parquet", "validation.parquet"
_CHECK_ROWS = 16
_WARM_S = 0.2


@dataclass(frozen=True)
class ArmWork:
    """What an arm is to compute.

    model: the folder of the model version. rows: that of the tables to calibrate and to check
    with. program: where what is compiled goes. log: what is printed meanwhile.
    """

    arm: Arm
    model: Path
    rows: Path
    program: Path
    log: Path
    device: str
    threads: int


@dataclass(frozen=True)
class Prepared:
    """An arm that can compute. Times in seconds; release: of the engine's library."""

    release: str
    prepare_s: float
    load_s: float
    num_bytes: int


@dataclass(frozen=True)
class Checked:
    """The numbers of all answers in order, and the task's primary metric."""

    numbers: "np.ndarray[Any, Any]"
    metric: float
    better: int


def serve(requests: Connection, work: ArmWork) -> None:
    """Answer requests until the other side is gone: each a verb with its arguments."""
    # Of its own, so that the compilers it starts can be ended with it; Ctrl-C is for the parent.
    os.setsid()
    Thread(target=_end_with_parent, daemon=True).start()
    _redirect(work.log)
    measured = _Measured(work)
    while True:
        try:
            verb, arguments = requests.recv()
        except EOFError:
            return
        try:
            answer = ("done", getattr(measured, verb)(*arguments))
        except Exception as error:
            import traceback

            traceback.print_exc()
            answer = ("failed", f"{type(error).__name__}: {error}")
        requests.send(answer)


def _end_with_parent() -> None:
    """A compiler at work would not notice for minutes that nobody waits for it any more."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.killpg(os.getpgrp(), signal.SIGKILL)


def _redirect(log: Path) -> None:
    """Compilers print what would tear the console of the job."""
    stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(stream, 1)
    os.dup2(stream, 2)


class _Measured:
    """Its public methods are the verbs."""

    def __init__(self, work: ArmWork) -> None:
        self.work = work
        self.batches: dict[int, Any] = {}

    def prepare(self) -> Prepared:
        """Compile, and load what was compiled."""
        import torch

        from aiplat.inference.engines.calls import graphs_of
        from aiplat.inference.engines.engine import Given, engine_of
        from aiplat.inference.engines.program import compile_program
        from aiplat.inference.predictor import Predictor

        work = self.work
        torch.set_num_threads(work.threads)
        arm, started = work.arm, time.perf_counter()
        if arm.engine == "eager":
            self.predictor = Predictor.open(work.model, work.device, arm.precision)
            return Prepared(str(torch.__version__), time.perf_counter() - started, 0.0, 0)
        release = engine_of(arm.engine).version()
        self.predictor = Predictor.open(work.model, work.device)
        given = Given(arm.precision, self.predictor.device.type, work.threads)
        task = self.predictor.task
        calibration = list(self._batches(CALIBRATION)) if arm.precision == "int8" else []
        graphs = graphs_of(task, self.predictor.info, calibration, str(self.predictor.device))
        compile_program(arm.engine, graphs, work.program, given)
        compiled = time.perf_counter()
        self.predictor.compute_by(work.program, given)
        loaded = time.perf_counter()
        # The model's own weights are not needed any more; another arm may need their memory.
        del graphs
        gc.collect()
        num_bytes = sum(file.stat().st_size for file in work.program.rglob("*") if file.is_file())
        return Prepared(release, compiled - started, loaded - compiled, num_bytes)

    def check(self) -> Checked:
        """Answer the validation rows, and measure the answers."""
        task = self.predictor.task
        metrics = task.metrics()
        numbers: list[float] = []
        for batch in self._batches(VALIDATION):
            for answer in self.predictor.predict(batch):
                numbers.extend(_numbers(answer))
            self.predictor.run(lambda moved: task.measure(moved, metrics), batch)
        metric = float(metrics.compute()[task.primary])
        return Checked(np.array(numbers), metric, 1 if task.maximize else -1)

    def time(self, batch_size: int, seconds: float, num_passes: int) -> list[float]:
        """Milliseconds of each pass, for so long, and for so many passes at least."""
        batch = self._batch_of(batch_size)
        self._warm_up(batch)
        times: list[float] = []
        began = time.perf_counter()
        while True:
            started = time.perf_counter()
            self.predictor.predict(batch)
            ended = time.perf_counter()
            times.append(1000 * (ended - started))
            # What takes ten times as long as it may has told enough.
            if ended - began > seconds and (
                len(times) >= num_passes or ended - began > 10 * seconds
            ):
                return times

    def _warm_up(self, batch: Any) -> None:
        """Other arms had the caches meanwhile."""
        began = time.perf_counter()
        while time.perf_counter() - began < _WARM_S:
            self.predictor.predict(batch)

    def _batch_of(self, batch_size: int) -> Any:
        if batch_size not in self.batches:
            table = pq.read_table(self.work.rows / VALIDATION).slice(0, batch_size)
            # Of few rows some are taken twice.
            while table.num_rows < batch_size:
                table = pa.concat_tables([table, table]).slice(0, batch_size)
            self.batches[batch_size] = self._encoded(table)
        return self.batches[batch_size]

    def _batches(self, name: str) -> Iterator[Any]:
        table = pq.read_table(self.work.rows / name)
        for start in range(0, table.num_rows, _CHECK_ROWS):
            yield self._encoded(table.slice(start, _CHECK_ROWS))

    def _encoded(self, table: pa.Table) -> Any:
        from aiplat.tasks.rows import rows_of

        return self.predictor.task.encode(rows_of(table))


def _numbers(answer: Any) -> Iterator[float]:
    """Every number in an answer, in order."""
    if isinstance(answer, dict):
        for value in answer.values():
            yield from _numbers(value)
    elif isinstance(answer, list | tuple):
        for value in answer:
            yield from _numbers(value)
    elif isinstance(answer, int | float):
        yield float(answer)
