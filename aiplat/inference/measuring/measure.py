"""All arms measured on this machine: made ready one by one, then timed in turns.

In turns, because what else the machine does changes over minutes and must fall on all arms alike.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from aiplat.datasets.versions import DatasetVersion
from aiplat.errors import AiplatError, DataError
from aiplat.inference.config import ParityConfig
from aiplat.inference.engines.engine import EngineError, Given, check_precision
from aiplat.inference.measuring.arm import CALIBRATION, VALIDATION, ArmWork, Checked, Prepared
from aiplat.inference.measuring.process import ArmError, ArmProcess
from aiplat.inference.measuring.results import (
    REFERENCE,
    Arm,
    Parity,
    Point,
    Result,
    hopeless,
    judged,
)

_ROUND_PASSES = 3

# Told what goes on (`prepare`, `ready`, `failed`, `round`) and with which arm, or in which round.
Watch = Callable[[str, Result | int], None]


@dataclass(frozen=True)
class Timing:
    """How arms are timed.

    rounds: turns of each arm; round_s: how long a turn takes at least for each batch size;
    timeout_s: how long an arm may take to answer at all.
    """

    batch_sizes: Sequence[int]
    rounds: int
    round_s: float
    timeout_s: float


@dataclass(frozen=True)
class Bench:
    """Where arms are measured.

    model: the folder of the model version. scratch: a folder for rows, programs and logs.
    """

    model: Path
    scratch: Path
    device: str
    threads: int
    parity: ParityConfig
    timing: Timing

    def program(self, arm: Arm) -> Path:
        """Where the arm's program is."""
        return self.scratch / f"{arm.engine}-{arm.precision}"

    def write_rows(
        self, version: DatasetVersion, columns: Sequence[str], num_calibration: int
    ) -> None:
        """Keep the rows to calibrate and to check with, of the training and validation splits."""
        wanted = {
            CALIBRATION: ("train", num_calibration),
            VALIDATION: (self.parity.split, self.parity.rows),
        }
        for file, (split, count) in wanted.items():
            table = _first_rows(version, split, columns, count)
            if not table.num_rows:
                raise DataError(f"split {split!r} of dataset version {version.id} has no rows")
            pq.write_table(table, self.scratch / file)

    def measure(self, arms: Sequence[Arm], watch: Watch) -> list[Result]:
        """What comes of each arm. Raises AiplatError where torch itself fails."""
        with ExitStack() as stack:
            runs = [_Run(arm, self) for arm in dict.fromkeys((REFERENCE, *arms))]
            for run in runs:
                stack.callback(run.end)
                watch("prepare", run.result)
                run.begin(runs[0])
                watch("ready" if run.is_alive else "failed", run.result)
                # All others are held against it.
                if runs[0].result.reason is not None:
                    raise AiplatError(f"{REFERENCE.called}: {runs[0].result.reason}")
            for number in range(self.timing.rounds):
                watch("round", number)
                # Whoever comes first finds caches of another arm than whoever comes last.
                start = number % len(runs)
                for run in (*runs[start:], *runs[:start]):
                    run.take_turn()
            return [run.result for run in runs]

    def work(self, arm: Arm) -> ArmWork:
        """What the arm's process is handed."""
        return ArmWork(
            arm=arm,
            model=self.model,
            rows=self.scratch,
            program=self.program(arm),
            log=self.scratch / f"{arm.engine}-{arm.precision}.log",
            device=self.device,
            threads=self.threads,
        )


@dataclass
class _Run:
    """An arm, its process while it has one, and what is known of it so far."""

    arm: Arm
    bench: Bench
    process: ArmProcess | None = None
    checked: Checked | None = None
    lone_ms: float = 0.0
    times: dict[int, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.result = Result(self.arm)

    @property
    def is_alive(self) -> bool:
        return self.result.reason is None

    def begin(self, reference: "_Run") -> None:
        """Compile, and hold the answers against those of the reference."""
        timeout_s = self.bench.timing.timeout_s
        with self._failing():
            kind = self.bench.device.partition(":")[0]
            check_precision(self.arm.engine, Given(self.arm.precision, kind))
            self.process = ArmProcess(self.bench.work(self.arm))
            ready: Prepared = self.process.ask("prepare", timeout_s=timeout_s)
            self.lone_ms = min(self.process.ask("time", 1, 0.0, 1, timeout_s=timeout_s))
            if reason := hopeless(self.lone_ms, reference.lone_ms, self.bench.parity.rows):
                raise ArmError(reason)
            self.checked = self.process.ask("check", timeout_s=timeout_s)
            self.result = replace(
                self.result,
                release=ready.release,
                prepare_s=ready.prepare_s,
                load_s=ready.load_s,
                num_bytes=ready.num_bytes,
                parity=self._parity(reference),
            )

    def take_turn(self) -> None:
        """Time passes of every batch size."""
        timing = self.bench.timing
        for batch_size in timing.batch_sizes if self.is_alive else ():
            with self._failing():
                if self.process is None:
                    return
                times = self.process.ask(
                    "time", batch_size, timing.round_s, _ROUND_PASSES, timeout_s=timing.timeout_s
                )
                self.times.setdefault(batch_size, []).extend(times)
        points = tuple(Point(size, tuple(times)) for size, times in self.times.items())
        self.result = replace(self.result, points=points if self.is_alive else ())

    def end(self) -> None:
        if self.process is not None:
            self.process.end()
            self.process = None

    def _parity(self, reference: "_Run") -> Parity | None:
        if self.checked is None or reference.checked is None:
            return None
        ours, theirs = self.checked, reference.checked
        if len(ours.numbers) != len(theirs.numbers):
            raise ArmError(f"gave {len(ours.numbers)} numbers in place of {len(theirs.numbers)}")
        difference = float(np.abs(ours.numbers - theirs.numbers).max(initial=0.0))
        metrics = (ours.metric, theirs.metric)
        return judged(self.arm, difference, metrics, ours.better, self.bench.parity)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """A failure of the arm in the block is its result."""
        try:
            yield
        except (ArmError, EngineError) as error:
            self.result = Result(self.arm, reason=str(error))
            self.end()


def _first_rows(
    version: DatasetVersion, split: str, columns: Sequence[str], count: int
) -> pa.Table:
    tables, found = [], 0
    for table in version.read(split, columns):
        tables.append(table)
        found += table.num_rows
        if found >= count:
            break
    return pa.concat_tables(tables).slice(0, count) if tables else pa.table({})
