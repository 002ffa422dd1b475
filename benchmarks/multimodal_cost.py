"""What looking at both costs: a fusion epoch over the image-only epoch of the same experiment.

Both train on the same rows in one process and take turns; medians are compared. Seconds of the
clock depend on what else the machine does, so seconds of CPU are compared as well: where loading
and computing share their cores, as on a laptop, those are the cost. Needs the dataset:

    python -m aiplat.jobs.ingest source=easy_vqa
    python benchmarks/multimodal_cost.py [clip] [pairs] [steps; 0: an epoch]
"""

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass

import torch

from aiplat.config.compose import compose
from aiplat.datasets.catalog import find_version
from aiplat.jobs.schema import TrainConfig
from aiplat.training.config import CheckpointConfig, LoopConfig
from aiplat.training.job import TrainJob
from aiplat.training.local import LocalWorker, tables_of
from aiplat.training.loop import fit
from aiplat.training.optim import optimizer_from
from aiplat.training.recipe import Recipe

STORAGE = os.environ.get("STORAGE", "storage")
ARMS = ("image", "both")
# Allocations and the choice of kernels are no part of an epoch.
WARM_STEPS = 5


@dataclass
class Stopwatch(LocalWorker):
    """Notes the clock and the CPU when the first steps are done, and at the last one."""

    times: tuple[tuple[float, float], ...] = ()

    def log(self, event: dict[str, object]) -> None:
        """Every step is logged; those of the first and the last are kept."""
        if event["kind"] == "step" and event["step"] >= WARM_STEPS:  # type: ignore[operator]
            self.times = (*self.times[:1], (time.perf_counter(), time.process_time()))


def epoch(arm: str, experiment: str, steps: int) -> tuple[float, float]:
    """Seconds of the clock and of CPU of the steps of an epoch after the first few."""
    config = compose("train", TrainConfig, [f"+exp={experiment}", f"model.modalities={arm}"])
    version = find_version(STORAGE, config.dataset.name)
    recipe = Recipe(
        dataset=config.dataset,
        make_optimizer=optimizer_from(config.optim or {}),
        loop=LoopConfig(max_epochs=1, max_steps=steps or None, log_every_steps=1),
        checkpoint=CheckpointConfig(max_lost_s=3600),
    )
    with tempfile.TemporaryDirectory() as run_dir:
        job = TrainJob(run_dir, version, config.model, config.task, recipe)
        task = job.build()
        tables = {"train": tables_of(version, task)["train"].combine_chunks()}
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        worker = Stopwatch(tables, task, run_dir, device=device)
        fit(task, worker, recipe)
    (clock, cpu), (clock_at_end, cpu_at_end) = worker.times
    return clock_at_end - clock, cpu_at_end - cpu


def main() -> None:
    """Take turns and print every pair, then the medians and their ratios."""
    experiment, pairs, steps = (*sys.argv[1:], *("clip", "5", "0")[len(sys.argv) - 1 :])
    torch.set_num_threads(1)
    found: dict[str, list[tuple[float, float]]] = {arm: [] for arm in ARMS}
    for pair in range(int(pairs)):
        # Whoever comes second may find caches warm.
        for arm in ARMS if pair % 2 else ARMS[::-1]:
            found[arm].append(epoch(arm, experiment, int(steps)))
        shown = {arm: tuple(round(value, 2) for value in of[-1]) for arm, of in found.items()}
        print(f"pair {pair + 1}: clock and CPU seconds {shown}", flush=True)
    for index, name in enumerate(("clock", "CPU")):
        image, both = (statistics.median(of[index] for of in found[arm]) for arm in ARMS)
        ratio = f"ratio {both / image:.2f}"
        print(f"{experiment}: median {name} seconds: image {image:.2f}, both {both:.2f}, {ratio}")


if __name__ == "__main__":
    main()
