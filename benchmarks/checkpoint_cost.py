"""What saving costs a run with the default settings: step time with saves over step time without.

One run in one process. Stretches of steps that begin with a save take turns with stretches that do
not; the median of the differences is what a save costs, the steps beside which it is written
included. That over the interval which the defaults choose for such saves makes the ratio.

    python -m aiplat.jobs.ingest source=easy_vqa
    python benchmarks/checkpoint_cost.py [clip|resnet50] [pairs] [steps of a stretch] [key=value]

(resnet50 needs `source=easy_vqa_shapes`.)
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from aiplat.config.compose import compose
from aiplat.datasets.catalog import find_version
from aiplat.jobs.schema import TrainConfig
from aiplat.training.attempt import Attempt
from aiplat.training.cadence import Cadence, SaveCost
from aiplat.training.config import CheckpointConfig, LoopConfig
from aiplat.training.job import TrainJob
from aiplat.training.local import LocalWorker, tables_of
from aiplat.training.optim import optimizer_from
from aiplat.training.recipe import Recipe
from aiplat.training.step import train_step

STORAGE = os.environ.get("STORAGE", "storage")
# Seconds by the clock and of CPU, which others on the machine do not take away.
Stretches = list[tuple[float, float]]
# The first steps allocate and choose kernels; the first save allocates, too.
WARM_STEPS = 5


@contextmanager
def begun(config: TrainConfig) -> Iterator[Attempt]:
    """A run that saves only when it is told to."""
    recipe = Recipe(
        dataset=config.dataset,
        make_optimizer=optimizer_from(config.optim or {}),
        loop=LoopConfig(channels_last=config.loop.channels_last),
        checkpoint=CheckpointConfig(max_lost_s=1e6),
    )
    with tempfile.TemporaryDirectory(dir=STORAGE) as run_dir:
        version = find_version(STORAGE, config.dataset.name)
        task = TrainJob(run_dir, version, config.model, config.task, recipe).build()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        tables = {"train": tables_of(version, task)["train"]}
        yield Attempt(task, LocalWorker(tables, task, run_dir, device=device), recipe)


def costs(config: TrainConfig, pairs: int, steps: int) -> tuple[Stretches, Stretches, SaveCost]:
    """The stretches with a save, those without, and the median save's cost."""
    with begun(config) as attempt, attempt.epoch() as (plans, batches):

        def stretch(num_steps: int, saving: bool) -> tuple[float, float]:
            began_at, used_s = time.perf_counter(), time.process_time()
            if saving:
                attempt.saver.save(attempt.position, attempt.ledger, attempt.learner)
            for _ in range(num_steps):
                plan = next(plans)
                attempt.after_step(plan, train_step(attempt.learner, plan, batches))
            attempt.saver.wait()
            return time.perf_counter() - began_at, time.process_time() - used_s

        stretch(WARM_STEPS, saving=True)
        saved, plain, found = [], [], []
        for _ in range(pairs):
            saved.append(stretch(steps, saving=True))
            found.append(attempt.saver.cadence.cost or SaveCost(0, 0))
            plain.append(stretch(steps, saving=False))
            print(f"{steps} steps with a save {saved[-1][0]:.3f} s, without {plain[-1][0]:.3f} s")
    cost = SaveCost(
        statistics.median(each.held_up_s for each in found),
        statistics.median(each.complete_s for each in found),
    )
    return saved, plain, cost


def added(saved: Stretches, plain: Stretches, which: int) -> float:
    """What a save adds. which: 0 for seconds, 1 for seconds of CPU."""
    return statistics.median(
        one[which] - other[which] for one, other in zip(saved, plain, strict=True)
    )


def main() -> None:
    """Print the medians, then the ratio at the default interval."""
    experiment, pairs, steps = (*sys.argv[1:4], *("clip", "15", "10")[len(sys.argv) - 1 :])
    config = compose("train", TrainConfig, [f"+exp={experiment}", *sys.argv[4:]])
    saved, plain, cost = costs(config, int(pairs), int(steps))
    step_s, cpu_s = (statistics.median(each) / int(steps) for each in zip(*plain, strict=True))
    cadence = Cadence(CheckpointConfig(), requested=lambda: False)
    cadence.measured(cost)
    added_s, added_cpu_s = added(saved, plain, 0), added(saved, plain, 1)
    steps_between = cadence.interval_s / step_s
    print(
        f"a save holds training up for {cost.held_up_s * 1000:.1f} ms, counts after "
        f"{cost.complete_s:.3f} s, costs {added_s:.3f} s of training, {added_cpu_s:.3f} s of CPU; "
        f"the default is one every {cadence.interval_s:.1f} s"
    )
    print(
        f"{experiment}: {step_s * 1000:.1f} ms a step without saves, "
        f"ratio {1 + added_s / steps_between / step_s:.4f} with them, "
        f"of CPU time {1 + added_cpu_s / steps_between / cpu_s:.4f}"
    )


if __name__ == "__main__":
    main()
