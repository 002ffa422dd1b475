"""A trial's settings as a file that trains the same."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from aiplat.config.compose import compose
from aiplat.jobs.record import as_recorded
from aiplat.jobs.schema import TrainConfig
from aiplat.tuning.experiment import experiment_file

GROUPS = ["model", "task", "optim", "schedule"]
PLACES = ("storage", "cluster", "tracking")


def written(folder: Path, overrides: list[str]) -> tuple[TrainConfig, str]:
    """What a study composes, and the file that it writes of it."""
    config = compose("tune", TrainConfig, ["tuning.num_trials=3", *overrides])
    said = {key: value for key, value in as_recorded(config).items() if key not in PLACES}
    text = experiment_file(said, TrainConfig, GROUPS, "Trial 3 of study digits: accuracy 0.9.")
    (folder / "exp").mkdir()
    (folder / "exp" / "best.yaml").write_text(text)
    return config, text


def without_tuning(config: TrainConfig) -> dict[str, Any]:
    return {key: value for key, value in asdict(config).items() if key != "tuning"}


@pytest.mark.parametrize(
    "overrides",
    [
        ["+exp=digits_mlp"],
        ["+exp=digits_mlp", "optim.lr=1e-05", "optim.weight_decay=1e22", "model.dropout=0"],
        ["+exp=digits_mlp", "optim=sgd", "schedule=null", "model.widths=[8]"],
        ["+exp=clip", "name='007e2'", "loop.clip_norm=null", "scale.num_workers=[1,2]"],
        ["+exp=bert_lightning", "name=true", "task.label.name='a name, with: signs #'"],
        ["+exp=resnet50", "schedule=warmup_cosine", "loop.max_steps=7", "dataset.version=0123"],
    ],
)
def test_the_file_composes_to_the_configuration_it_was_made_of(
    tmp_path: Path, overrides: list[str]
) -> None:
    config, _ = written(tmp_path, overrides)
    again = compose("train", TrainConfig, ["+exp=best"], [tmp_path])
    assert without_tuning(again) == without_tuning(config)


def test_what_the_job_sets_by_itself_is_left_out(tmp_path: Path) -> None:
    _, text = written(tmp_path, ["+exp=digits_mlp", "optim.lr=0.5"])
    lines = text.splitlines()
    assert lines[:2] == ["# @package _global_", "# Trial 3 of study digits: accuracy 0.9."]
    assert "  lr: 0.5" in lines
    assert not any(line.startswith(("loop:", "seed:", "scale:", "tuning:")) for line in lines)


def test_the_file_may_be_changed_as_any_experiment(tmp_path: Path) -> None:
    written(tmp_path, ["+exp=digits_mlp"])
    overrides = ["+exp=best", "name=longer", "loop.max_epochs=30", "optim.lr=0.25"]
    changed = compose("train", TrainConfig, overrides, [tmp_path])
    assert (changed.name, changed.loop.max_epochs) == ("longer", 30)
    assert changed.optim is not None
    assert changed.optim["lr"] == 0.25
