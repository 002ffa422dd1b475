"""What a rank does about what goes wrong: mend it where it can, and tell of it where it cannot.

A lone process that runs out of memory splits its micro-batches and repeats the step. With several
ranks the attempt ends, for the others are in the middle of a collective that cannot be left
(docs/decisions/0008): the next attempt splits from the beginning.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aiplat.tasks.task import Task
from aiplat.training.adjustments import write_adjustments
from aiplat.training.faults import (
    MemoryShortError,
    fault_of,
    is_out_of_memory,
    one_line,
    write_fault,
)
from aiplat.training.recipe import Recipe
from aiplat.training.watchdog import Watchdog
from aiplat.training.worker import Worker

if TYPE_CHECKING:
    from aiplat.training.attempt import Attempt

# CUDA tells its whole life; what follows must still be read.
_MAX_SAID = 250


@contextmanager
def watched(worker: Worker, recipe: Recipe) -> Iterator[None]:
    """What the block raises, and that it hangs, is told in the run's folder before it ends."""
    with Watchdog(worker, recipe.loop.stall_s):
        try:
            yield
        except Exception as error:
            fault = fault_of(error, worker.rank, worker.pulse.step + 1)
            # On a full disk it cannot be told; whoever started the rank sees the exception.
            with suppress(OSError):
                write_fault(worker.run_dir, fault)
            raise


@contextmanager
def survived(attempt: "Attempt") -> Iterator[None]:
    """Running out of memory within the block ends it with smaller micro-batches for the next one.

    Raises MemoryShortError where that cannot be, or only in another attempt.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        short = _answer(attempt, error)
        if not short.is_answered or attempt.worker.world_size > 1:
            raise short from error
        attempt.split(fault_of(short, attempt.worker.rank, attempt.position.step + 1))


def refusal(recipe: Recipe, task: Task, world_size: int) -> str | None:
    """Why micro-batches cannot be made smaller, and what to do; None where they can."""
    if recipe.loop.oom == "fail":
        return "set loop.oom=split to go on with smaller micro-batches, or lower dataset.batch_size"
    if task.coupled:
        return (
            "this task compares the rows of a batch with each other, so smaller micro-batches "
            "would change its loss: lower dataset.batch_size, or raise scale.num_workers"
        )
    if recipe.micro_batch_rows(world_size) <= 1:
        return "micro-batches are of one row already: use a smaller model, or larger machines"
    return None


def _answer(attempt: "Attempt", error: Exception) -> MemoryShortError:
    """The error to raise, after the run's folder was changed so that it does not come again."""
    rows = attempt.recipe.micro_batch_rows(attempt.worker.world_size)
    said = one_line(error)[:_MAX_SAID]
    text = f"{rows} rows at a time do not fit into memory ({type(error).__name__}: {said})"
    problem = refusal(attempt.recipe, attempt.task, attempt.worker.world_size)
    if problem:
        return MemoryShortError(f"{text}; {problem}")
    write_adjustments(attempt.worker.run_dir, attempt.adjustments.halved())
    short = MemoryShortError(f"{text}; going on with {-(-rows // 2)} and twice as many of them")
    short.is_answered = True
    return short
