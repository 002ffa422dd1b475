"""Does it pay to look at both? Test accuracy of fusion beside that of each side alone.

Trains the experiment three times: `model.modalities=both`, `image` and `text`. Needs its dataset:

    python -m aiplat.jobs.ingest source=easy_vqa
    python benchmarks/arms.py [clip]
"""

import os
import subprocess
import sys
from pathlib import Path

from aiplat.training.result import read_result

STORAGE = os.environ.get("STORAGE", "storage")
ARMS = ("both", "image", "text")


def accuracy(experiment: str, arm: str) -> float:
    """Test accuracy of one arm; an arm that was trained before is not trained again."""
    name = f"{experiment}-{arm}"
    job = [sys.executable, "-m", "aiplat.jobs.train", f"+exp={experiment}", f"name={name}"]
    subprocess.run(
        [*job, f"model.modalities={arm}", f"storage={STORAGE}", "register.name=null"], check=True
    )
    result = read_result(str(Path(STORAGE, "runs", name)))
    if result is None:
        sys.exit(f"run {name} did not finish")
    return result.test_metrics["accuracy"]


def main() -> None:
    """Train the arms and print them beside each other."""
    experiment = sys.argv[1] if len(sys.argv) > 1 else "clip"
    found = {arm: accuracy(experiment, arm) for arm in ARMS}
    alone = max(found["image"], found["text"])
    for arm, value in found.items():
        print(f"{experiment} {arm:6} test accuracy {value:.4f}")
    print(f"both over the better side alone: {found['both'] - alone:+.4f}")


if __name__ == "__main__":
    main()
