import json
from pathlib import Path
from typing import Any

import pytest

from aiplat.errors import ConfigError
from aiplat.training.config import LoopConfig
from aiplat.training.profile import PHASES, described, summarised
from tests.training.runs import Run

Event = dict[str, Any]


def profiles(events: list[Event]) -> list[Event]:
    return [event for event in events if event["kind"] == "profile"]


def names_in_trace(path: Path) -> set[str]:
    return {event.get("name") for event in json.loads(path.read_text())["traceEvents"]}


def test_a_profiled_run_says_where_its_steps_spent_their_time(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"profile": 4}, checkpoint={"every_steps": 1}, batch_size=8)
    (event,) = profiles(run.go()[1].events)
    assert event["steps"] == 4
    assert set(event["share"]) == {*PHASES, "other"}
    assert sum(event["share"].values()) == pytest.approx(1)
    assert sum(event["ms"].values()) == pytest.approx(event["step_ms"])
    # Every step was saved, and that is slower than this model is.
    assert event["share"]["checkpoint"] > event["share"]["optimizer"] > 0
    assert json.loads((tmp_path / "profile" / "summary.json").read_text())["ms"] == event["ms"]
    assert {"forward", "backward", "optimizer", "aten::linear"} <= names_in_trace(
        tmp_path / "profile" / "rank-0.json"
    )


def test_a_run_that_ends_before_its_profile_reports_the_steps_it_had(tmp_path: Path) -> None:
    run = Run(tmp_path, loop={"profile": True, "max_steps": 8})
    (event,) = profiles(run.go()[1].events)
    assert event["steps"] == 3


def test_a_run_that_is_not_profiled_writes_and_says_nothing(tmp_path: Path) -> None:
    assert not profiles(Run(tmp_path).go()[1].events)
    assert not (tmp_path / "profile").exists()


def test_the_summary_is_the_mean_of_the_ranks() -> None:
    of_ranks = [{"forward": 1.0, "other": 0.0}, {"forward": 2.0, "other": 1.0}]
    summary = summarised(of_ranks, num_steps=10, num_rows=400)
    assert summary["ms"] == {"forward": 150, "other": 50}
    assert summary["share"] == {"forward": 0.75, "other": 0.25}
    assert summary["rows_per_s"] == 200
    assert "75.0%    150.00 ms" in described(summary)


def test_a_number_of_steps_below_zero_is_refused() -> None:
    assert LoopConfig(profile=True).profiled_steps == 20
    assert LoopConfig(profile=7).profiled_steps == 7
    assert LoopConfig().profiled_steps == 0
    with pytest.raises(ConfigError, match="profile is -1, expected at least 0"):
        LoopConfig(profile=-1)
