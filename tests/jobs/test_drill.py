from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from aiplat.cluster.nodes import LocalNodes
from aiplat.config.compose import compose
from aiplat.datasets.synthetic import separable_table
from aiplat.errors import ConfigError
from aiplat.jobs.drill_runs import DrillRuns
from aiplat.jobs.drill_watch import DrillWatch, show_report
from aiplat.jobs.schema import DrillConfig, TrainConfig
from aiplat.training.drill.plan import Kill
from aiplat.training.drill.recovery import Strike
from aiplat.training.drill.rows import EpochRows, RowCounter
from aiplat.training.run_log import RunLog
from tests.training.drill.reports import report


class NoNodes(LocalNodes):
    """An address and nothing behind it."""

    def __init__(self) -> None:
        self.address = "127.0.0.1:1"


def runs(tmp_path: Path, *overrides: str) -> DrillRuns:
    version = separable_table(100).write(str(tmp_path), "credit", num_val=10, num_test=10)
    given = ["+exp=tabular", "dataset.batch_size=16", "kills=6", *overrides]
    config = compose("drill", DrillConfig, given)
    return DrillRuns(config, version, str(tmp_path), tmp_path / "drills" / "tabular")


def recording() -> tuple[Console, StringIO]:
    written = StringIO()
    return Console(file=written, width=120, highlight=False), written


def test_the_runs_of_a_drill_are_commands_that_compose_to_its_configuration(tmp_path: Path) -> None:
    drill = runs(tmp_path, "optim=sgd", "optim.lr=0.5", "schedule=constant", "scale.max_failures=1")
    stage = drill.stage(NoNodes(), drill.drilled, seed=7)
    folder, experiment = Path(stage.command[4]), stage.command[5]
    config = compose("train", TrainConfig, [experiment], [folder])
    assert (config.name, config.seed) == ("tabular-drilled", 7)
    assert (config.storage, config.cluster.address) == (str(tmp_path), "127.0.0.1:1")
    assert config.optim == drill.config.optim
    assert config.schedule == drill.config.schedule
    assert config.model == drill.config.model
    assert config.scale.max_failures == 7
    assert config.register.name is None


def test_kills_fall_within_the_steps_of_the_run(tmp_path: Path) -> None:
    drill = runs(tmp_path, "loop.max_epochs=3")
    assert [kill.number for kill in drill.kills] == [1, 2, 3, 4, 5, 6]
    # 80 rows make 5 steps an epoch.
    assert drill.kills[-1].step < 15
    with pytest.raises(ConfigError, match="kills=6, but the run has 5 steps"):
        assert runs(tmp_path / "short", "loop.max_epochs=1").kills


def test_undisturbed_runs_have_seeds_of_their_own_and_the_first_that_of_the_drill(
    tmp_path: Path,
) -> None:
    drill = runs(tmp_path, "seed=4", "undisturbed=3")
    assert list(drill.undisturbed.values()) == [4, 5, 6]


def test_only_the_run_of_an_earlier_drill_makes_room(tmp_path: Path) -> None:
    drill = runs(tmp_path)
    run_dir = tmp_path / "runs" / "tabular-drilled"
    run_dir.mkdir(parents=True)
    with pytest.raises(ConfigError, match="is a run of its own: choose another name="):
        drill.make_room()
    drill.stage(NoNodes(), drill.drilled, seed=0)
    drill.make_room()
    assert not run_dir.exists()


def test_the_report_is_made_of_what_the_runs_left_behind(tmp_path: Path) -> None:
    drill = runs(tmp_path, "loop.max_epochs=1", "kills=1", "undisturbed=1", "tolerance=0.01")
    for run, loss in ((drill.drilled, 0.5), ("tabular-undisturbed-0", 0.6)):
        with RunLog(drill.run_dir(run)) as log:
            log.add({"kind": "start", "at": 90.0, "step": 0, "world_size": 2})
            log.add({"kind": "step", "at": 91.0, "step": 1, "epoch": 1, "loss": loss})
    with RunLog(drill.run_dir(drill.drilled)) as log:
        log.add({"kind": "note", "at": 101.0, "text": "lost the worker of rank 1"})
        log.add({"kind": "start", "at": 110.0, "step": 0, "world_size": 1})
        log.add({"kind": "step", "at": 112.0, "step": 1, "epoch": 1, "loss": loss})
    strike = Strike(drill.kills[0], at=100.0, step=1, epoch=1, num_workers=2)
    found = drill.conclude([strike], drill.counter())
    assert [recovery and recovery.total for recovery in found.recoveries] == [12]
    assert found.rows == [EpochRows(1, trained=0, lost=80, repeated=0, kills=1)]
    assert found.comparison.gap == pytest.approx(0.0)
    assert found.groups == [(90.0, 2), (110.0, 1)]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("kills=0", "kills is 0, expected at least 1"),
        ("corrupt=7", "corrupt is 7, expected 0 to kills=6"),
        ("kinds=[head]", "kinds"),
        ("nodes=[]", "nodes is empty"),
        ("undisturbed=0", "undisturbed is 0"),
        ("loop.max_steps=5", "a drill counts whole epochs"),
    ],
)
def test_a_drill_that_cannot_be_is_refused(tmp_path: Path, override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        runs(tmp_path, override)


def test_the_report_is_shown_with_its_numbers() -> None:
    console, written = recording()
    show_report(console, report(), Path("storage/drills/shapes"))
    text = written.getvalue()
    assert "2 epochs, 1 of them cut: 0 rows lost, 0 repeated" in text
    assert "final loss 1.0100, undisturbed 1.0000, 1.0200: 0.0100 apart, noise 0.0200" in text
    (line,) = [line for line in text.splitlines() if "node" in line]
    assert "20.0 / 20.0" in line
    (line,) = [line for line in text.splitlines() if "│ all " in line]
    assert "20.0 / 29.0" in line


def test_each_kill_and_each_return_is_told_as_it_happens(tmp_path: Path) -> None:
    console, written = recording()
    watch = DrillWatch(console, RowCounter(str(tmp_path), 0, 10), num_kills=3)
    strike = Strike(Kill(2, "node", 40, 0), at=100.0, step=41, epoch=1, num_workers=4)
    watch("strike", {"strike": replace(strike, damaged="step-00000030/model.safetensors")})
    watch("event", {"kind": "step", "at": 99.9, "epoch": 1})
    watch("event", {"kind": "note", "at": 102.0, "text": "lost the workers of rank 0, 1"})
    watch("event", {"kind": "start", "at": 108.0, "step": 30, "world_size": 2})
    watch("event", {"kind": "step", "at": 110.5, "epoch": 1})
    watch("event", {"kind": "step", "at": 111.5, "epoch": 1})
    assert written.getvalue().splitlines() == [
        "kill 2/3: node at step 41 of epoch 1, 4 workers, step-00000030/model.safetensors damaged",
        "  lost the workers of rank 0, 1",
        "  2 workers went on from step 30 after 10.5 s",
    ]
