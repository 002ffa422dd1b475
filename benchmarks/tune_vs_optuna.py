"""A search of ours, two trials side by side, against a plain script with Optuna in one process.

The same space, sampler, pruner, number of trials and seeds; they take turns. Compared are the best
values over the seeds (Mann-Whitney's U, two-sided) and the time from the start of each command to
its end, our cluster's start and end among it. What the workers do not spend on a trial between the
first one's beginning and the last one's end is told as their idle time. Needs the dataset:

    python -m aiplat.jobs.ingest source=digits
    python benchmarks/tune_vs_optuna.py [seeds, 5] [trials, 50] [epochs, 30] [widths, 1024,512]

The widths are those of the network's layers.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import optuna
from scipy.stats import mannwhitneyu

from aiplat.config.compose import compose
from aiplat.datasets.catalog import find_version
from aiplat.jobs.schema import TrainConfig
from aiplat.tuning.notes import SECONDS

PEER = Path(__file__).parent / "peers" / "plain_optuna.py"
STORAGE = os.environ.get("STORAGE", "storage")
MIN_EPOCHS, REDUCTION_FACTOR = 3, 3
CONCURRENT = 2


@dataclass(frozen=True)
class Budget:
    """What both searches may spend, and on what network."""

    trials: int
    epochs: int
    widths: list[int]


def ours(seed: int, budget: Budget, folder: str) -> dict[str, float]:
    """Run the job, and read what its study holds."""
    datasets = Path(folder, "datasets")
    if not datasets.exists():
        datasets.symlink_to(Path(STORAGE).resolve() / "datasets")
    command = [
        *(sys.executable, "-m", "aiplat.jobs.tune", "+exp=digits_mlp", f"storage={folder}"),
        *(f"tuning.study=s{seed}", f"seed={seed}", f"tuning.num_trials={budget.trials}"),
        *(f"model.widths={budget.widths}", f"loop.max_epochs={budget.epochs}"),
        *(f"tuning.min_epochs={MIN_EPOCHS}",),
        *(f"tuning.reduction_factor={REDUCTION_FACTOR}", f"tuning.max_concurrent={CONCURRENT}"),
        *("cluster.address=local", f"cluster.num_cpus={CONCURRENT}"),
    ]
    began_at = time.time()
    # Ray's workers give way to everything else on the machine, which the plain script does not.
    alike = {**os.environ, "RAY_worker_niceness": "0"}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=alike)
    seconds = time.time() - began_at
    study = optuna.load_study(
        study_name=f"s{seed}", storage=f"sqlite:///{folder}/studies/s{seed}/study.db"
    )
    spans = [
        (trial.datetime_complete.timestamp(), float(trial.user_attrs.get(SECONDS, 0.0)))
        for trial in study.trials
        if trial.datetime_complete
    ]
    # A trial is drawn before its process has started: the time it took tells when it began.
    search_s = max(end for end, _ in spans) - min(end - lasted for end, lasted in spans)
    busy_s = sum(lasted for _, lasted in spans)
    return {
        "best": float(study.best_value),
        "seconds": seconds,
        "search_s": search_s,
        "epochs": sum(len(trial.intermediate_values) for trial in study.trials),
        "idle": 1 - busy_s / (search_s * CONCURRENT),
    }


def peer(seed: int, budget: Budget, folder: str) -> dict[str, float]:
    """Start the plain script and read what it prints."""
    config = compose("train", TrainConfig, ["+exp=digits_mlp"])
    version = find_version(STORAGE, config.dataset.name)
    numbers = version.info.of_kind("number")
    plan = {
        "train": version.shard_uris("train"),
        "val": version.shard_uris("val"),
        "means": [column.mean for column in numbers],
        "stds": [column.std or 1.0 for column in numbers],
        "threads": 1,
        "precision": "bf16",
        "seed": seed,
        "num_trials": budget.trials,
        "max_epochs": budget.epochs,
        "widths": budget.widths,
        "min_epochs": MIN_EPOCHS,
        "reduction_factor": REDUCTION_FACTOR,
        "folder": folder,
        "launched_at": time.time(),
    }
    file = Path(folder, "plan.json")
    file.write_text(json.dumps(plan))
    command = [sys.executable, str(PEER), str(file)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Take turns and print every seed, then the comparison."""
    seeds, trials, epochs, widths = (
        *sys.argv[1:],
        *("5", "50", "30", "1024,512")[len(sys.argv) - 1 :],
    )
    budget = Budget(int(trials), int(epochs), [int(width) for width in widths.split(",")])
    runs: list[tuple[dict[str, float], dict[str, float]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(int(seeds)):
            pair = [ours, peer] if seed % 2 else [peer, ours]
            found = {arm: arm(seed, budget, folder) for arm in pair}
            runs.append((found[ours], found[peer]))
            print(f"seed {seed}: ours {found[ours]}, plain {found[peer]}", flush=True)
    mine, plain = ([run[side]["best"] for run in runs] for side in (0, 1))
    test = mannwhitneyu(mine, plain)
    print(
        f"best value: ours {statistics.mean(mine):.4f} (sd {statistics.pstdev(mine):.4f}), plain "
        f"{statistics.mean(plain):.4f} (sd {statistics.pstdev(plain):.4f}), "
        f"Mann-Whitney p={test.pvalue:.2f}"
    )
    for name in ("seconds", "search_s"):
        own, other = (statistics.median(run[side][name] for run in runs) for side in (0, 1))
        print(f"median {name}: ours {own:.1f}, plain {other:.1f}, ratio {own / other:.2f}")
    idle = statistics.median(run[0]["idle"] for run in runs)
    print(f"workers idle between trials: {idle:.1%} of the search (median)")


if __name__ == "__main__":
    main()
