"""bf16 autocast over fp32 on this device: rows a second of training steps, side by side.

The two take turns on the same rows in one process; medians are compared.

    python -m aiplat.jobs.ingest source=easy_vqa_shapes
    python benchmarks/amp.py [resnet50|clip] [pairs] [steps]
"""

import os
import statistics
import sys
import tempfile

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
LOG_EVERY_STEPS = 5
# The first events are of steps that allocate and choose kernels.
WARM_EVENTS = 2


def speed(config: TrainConfig, precision: str, steps: int) -> float:
    """Rows a second of the steps after the first few."""
    recipe = Recipe(
        dataset=config.dataset,
        make_optimizer=optimizer_from(config.optim or {}),
        loop=LoopConfig(
            max_steps=steps,
            precision=precision,
            channels_last=True,
            log_every_steps=LOG_EVERY_STEPS,
        ),
        checkpoint=CheckpointConfig(max_lost_s=3600),
    )
    with tempfile.TemporaryDirectory() as run_dir:
        version = find_version(STORAGE, config.dataset.name)
        job = TrainJob(run_dir, version, config.model, config.task, recipe)
        task = job.build()
        tables = {"train": tables_of(version, task)["train"]}
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        worker = LocalWorker(tables, task, run_dir, device=device)
        fit(task, worker, recipe)
    speeds = [event["rows_per_s"] for event in worker.events if event["kind"] == "step"]
    return statistics.harmonic_mean(speeds[WARM_EVENTS:])


def main() -> None:
    """Take turns and print every pair, then the medians and their ratio."""
    experiment, pairs, steps = (*sys.argv[1:], *("resnet50", "3", "30")[len(sys.argv) - 1 :])
    config = compose("train", TrainConfig, [f"+exp={experiment}"])
    found: dict[str, list[float]] = {"fp32": [], "bf16": []}
    for pair in range(int(pairs)):
        for precision, speeds in found.items():
            speeds.append(speed(config, precision, int(steps)))
        print(
            f"pair {pair + 1}: { ({name: round(of[-1], 1) for name, of in found.items()}) } rows/s"
        )
    fp32, bf16 = (statistics.median(speeds) for speeds in found.values())
    print(f"{experiment}: bf16 {bf16:.1f}, fp32 {fp32:.1f} rows/s, ratio {bf16 / fp32:.2f}")


if __name__ == "__main__":
    main()
