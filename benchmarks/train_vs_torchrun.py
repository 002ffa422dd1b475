"""Rows a second of a run of ours over a plain torchrun script with DataLoader, side by side.

Both train the same model on the same rows with the same batch, precision, optimizer and two
processes; they take turns, and the medians are compared. Ours saves its checkpoints as it does by
default. The time to the first batch is that from the start of torchrun, and from the call that
trains: our cluster and its driver are up by then. The first call on a fresh cluster, which starts
more than the later ones, is reported apart. Needs the dataset of the experiment to be ingested:

    python -m aiplat.jobs.ingest source=easy_vqa
    python benchmarks/train_vs_torchrun.py [clip|resnet50] [pairs] [steps]

A minute of steps at least: the first checkpoint comes early, and would weigh too much in less.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from aiplat.cluster.scale import ClusterConfig, ScaleConfig
from aiplat.cluster.session import connect
from aiplat.config.compose import compose
from aiplat.datasets.catalog import find_version
from aiplat.jobs.schema import TrainConfig
from aiplat.training.config import CheckpointConfig, LoopConfig
from aiplat.training.job import TrainJob
from aiplat.training.optim import optimizer_from
from aiplat.training.recipe import Recipe

PROCESSES = 2
LOG_EVERY_STEPS = 10
# The events of the first steps, which the peer leaves out of its speed as well.
WARM_EVENTS = 2
PEER = Path(__file__).parent / "peers" / "plain_torchrun.py"
STORAGE = os.environ.get("STORAGE", "storage")


def ours(config: TrainConfig, steps: int, run_dir: str) -> dict[str, float]:
    """Train on a cluster that runs already; what the peer prints."""
    from aiplat.cluster.train import train_on_cluster

    recipe = Recipe(
        dataset=config.dataset,
        make_optimizer=optimizer_from({"_target_": "torch.optim.AdamW", "lr": 1e-3, "fused": True}),
        loop=LoopConfig(
            max_steps=steps,
            precision="bf16",
            augment=False,
            channels_last=config.loop.channels_last,
            log_every_steps=LOG_EVERY_STEPS,
        ),
        checkpoint=CheckpointConfig(),
    )
    whole = find_version(STORAGE, config.dataset.name)
    # Evaluation is not part of the comparison.
    version = replace(whole, splits={"train": whole.splits["train"]})
    job = TrainJob(run_dir, version, config.model, config.task, recipe)
    seen: list[dict[str, Any]] = []
    began_at = time.time()
    train_on_cluster(job, ScaleConfig(num_workers=PROCESSES), seen.append)
    steps_seen = [event for event in seen if event["kind"] == "step"]
    speeds = [event["rows_per_s"] for event in steps_seen[WARM_EVENTS:]]
    # Each event speaks for equally many rows. The first one comes after the first step.
    first_s = steps_seen[0]["at"] - began_at
    return {"first_batch_s": first_s, "rows_per_s": statistics.harmonic_mean(speeds)}


def peer(config: TrainConfig, steps: int, folder: Path, tokenizer: Path) -> dict[str, float]:
    """Start the plain script and read what it prints."""
    version = find_version(STORAGE, config.dataset.name)
    plan = {
        "model": config.model,
        "num_classes": len(version.info.labels),
        "shards": version.shard_uris("train"),
        "tokenizer": str(tokenizer) if tokenizer.exists() else None,
        "batch_size": config.dataset.batch_size,
        "precision": "bf16",
        "loader_workers": 1,
        "steps": steps,
        "launched_at": time.time(),
    }
    (folder / "plan.json").write_text(json.dumps(plan))
    torchrun = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={PROCESSES}"]
    done = subprocess.run(
        [*torchrun, str(PEER), str(folder / "plan.json")],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Take turns and print every pair, then the medians and their ratio."""
    experiment, pairs, steps = (*sys.argv[1:], *("clip", "5", "70")[len(sys.argv) - 1 :])
    config = compose("train", TrainConfig, [f"+exp={experiment}"])
    runs: list[tuple[dict[str, float], dict[str, float]]] = []
    with connect(ClusterConfig(address="local")), tempfile.TemporaryDirectory() as scratch:
        for pair in range(int(pairs)):
            run_dir = f"{scratch}/{pair}"
            mine = ours(config, int(steps), run_dir)
            plain = peer(config, int(steps), Path(scratch), Path(run_dir, "assets/tokenizer.json"))
            runs.append((mine, plain))
            ratio = mine["rows_per_s"] / plain["rows_per_s"]
            print(f"pair {pair + 1}: ours {mine}, torchrun {plain}, ratio {ratio:.3f}", flush=True)
    print(f"{experiment}: first batch on a fresh cluster: ours {runs[0][0]['first_batch_s']:.1f}")
    for name, counted in (("rows_per_s", runs), ("first_batch_s", runs[1:] or runs)):
        mine_median, plain_median = (
            statistics.median(pair[side][name] for pair in counted) for side in (0, 1)
        )
        print(
            f"{experiment}: median {name}: ours {mine_median:.1f}, torchrun {plain_median:.1f}, "
            f"ratio {mine_median / plain_median:.3f}"
        )


if __name__ == "__main__":
    main()
