"""What a job finds out before any worker starts."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aiplat.datasets.synthetic import separable_table
from aiplat.tasks.tabular_classification import TabularClassification
from aiplat.tasks.task import Batch
from aiplat.training.config import DatasetConfig
from aiplat.training.job import TrainJob
from aiplat.training.optim import optimizer_from
from aiplat.training.recipe import Recipe

OURS = "aiplat.tasks.tabular_classification.TabularClassification"


class Unmeasurable(TabularClassification):
    """A user's task, which would fail after an epoch."""

    def measure(self, batch: Batch, metrics: Any) -> None:
        raise ZeroDivisionError("there is no such average")


def job(folder: Path, task: str) -> TrainJob:
    version = separable_table(60).write(str(folder), "table", num_val=10, num_test=10)
    make_optimizer = optimizer_from({"_target_": "torch.optim.AdamW"})
    recipe = Recipe(DatasetConfig(name="table", batch_size=16), make_optimizer)
    return TrainJob(
        str(folder / "run"),
        version,
        {"_target_": "aiplat.models.tabular.TabularNetwork"},
        {"_target_": task, "label": {"_target_": "aiplat.tasks.labels.LabelColumn"}},
        recipe,
    )


def test_what_would_fail_after_an_epoch_fails_before_the_first(tmp_path: Path) -> None:
    users = job(tmp_path, f"{__name__}.{Unmeasurable.__name__}")
    with pytest.raises(ZeroDivisionError, match="there is no such average"):
        users.rehearse(users.build())


def test_a_rehearsal_of_ours_waits_for_no_slow_import(tmp_path: Path) -> None:
    # What every worker imports, too, each time a run starts or goes on.
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.training.test_job import OURS, job\n"
        f"ours = job(Path({str(tmp_path)!r}), OURS)\n"
        "ours.rehearse(ours.build())\n"
        "slow = {'torchmetrics', 'torchvision', 'torch._dynamo', 'lightning'} & set(sys.modules)\n"
        "sys.exit(f'imported {slow}' if slow else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
