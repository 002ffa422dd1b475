"""Where the events of trials go while a study runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiplat.datasets.synthetic import separable_table
from aiplat.jobs.tune_trials import OpenTrial
from aiplat.jobs.tune_watch import TrialSinks
from aiplat.tracking.tracker import NoTracker, RunRecord, Status
from aiplat.training.run import open_run


class Ledger(NoTracker):
    """A tracker that notes what it is told, with those of all other trials."""

    def __init__(self, told: list[tuple[Any, ...]]) -> None:
        self.told = told
        self.name = ""

    def start(self, run: RunRecord, resume: str | None = None) -> str:
        self.name = run.name
        self.told.append((run.name, "start", run.parent, resume))
        return f"id-{run.name}"

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        self.told.append((self.name, "log", metrics["val.accuracy"], step))

    def finish(self, status: Status) -> None:
        self.told.append((self.name, "finish", status))


def sinks(tmp_path: Path, told: list[tuple[Any, ...]]) -> TrialSinks:
    version = separable_table(60).write(str(tmp_path), "table", num_val=10, num_test=10)
    opened = {}
    for number in (0, 1):
        with open_run(str(tmp_path), f"s-{number}", {"name": f"s-{number}"}) as run:
            opened[number] = OpenTrial(run, {"name": f"s-{number}"})
    return TrialSinks(opened, version, lambda: Ledger(told), "study", told.append)  # type: ignore[arg-type]


def epoch(trial: int, number: int) -> dict[str, Any]:
    return {"kind": "epoch", "trial": trial, "epoch": number, "step": 10 * number, "accuracy": 0.5}


def test_each_trial_has_a_record_of_its_own_below_that_of_the_study(tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    with sinks(tmp_path, told) as take:
        take(epoch(0, 1))
        take(epoch(1, 1))
        take({"kind": "closed", "trial": 0, "status": "pruned"})
        take({"kind": "closed", "trial": 1, "status": "finished"})
    assert told == [
        ("s-0", "start", "study", None),
        ("s-0", "log", 0.5, 10),
        ("s-1", "start", "study", None),
        ("s-1", "log", 0.5, 10),
        ("s-0", "finish", "finished"),
        ("s-1", "finish", "finished"),
    ]
    assert "epoch" in (tmp_path / "runs" / "s-0" / "logs" / "000001.jsonl").read_text()


def test_what_a_trial_says_after_its_end_does_not_open_its_record_again(tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    with sinks(tmp_path, told) as take:
        take(epoch(0, 1))
        take({"kind": "closed", "trial": 0, "status": "pruned"})
        take({"kind": "note", "trial": 0, "text": "on my way out"})
    assert told[-1] == ("s-0", "finish", "finished")
    assert [entry[1] for entry in told].count("start") == 1


def test_a_trial_whose_process_was_lost_goes_on_in_the_record_it_had(tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    with sinks(tmp_path, told) as take:
        take(epoch(0, 1))
        take({"kind": "closed", "trial": 0, "status": "lost"})
        take(epoch(0, 2))
        take({"kind": "closed", "trial": 0, "status": "finished"})
    assert [entry for entry in told if entry[1] in ("start", "finish")] == [
        ("s-0", "start", "study", None),
        ("s-0", "finish", "failed"),
        ("s-0", "start", "study", "id-s-0"),
        ("s-0", "finish", "finished"),
    ]


def test_what_is_cut_off_is_closed_as_stopped(tmp_path: Path) -> None:
    told: list[tuple[Any, ...]] = []
    with sinks(tmp_path, told) as take:
        take(epoch(0, 1))
    assert told[-1] == ("s-0", "finish", "stopped")
