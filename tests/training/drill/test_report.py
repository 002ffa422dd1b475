import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from aiplat.training.drill.picture import draw_drill
from aiplat.training.drill.report import DrillReport
from aiplat.training.drill.rows import EpochRows
from tests.training.drill.reports import report


def test_a_drill_that_held_everything_has_no_faults() -> None:
    assert report().faults == []
    assert report().to_json()["passed"]


def test_the_report_as_json_tells_times_by_kind_and_each_kill() -> None:
    told = json.loads(json.dumps(report().to_json()))
    assert told["recovery_s"]["node"]["total"] == {"p50": 20.0, "p95": 20.0}
    assert told["recovery_s"]["all"]["total"]["p50"] == 20.0
    assert told["recovery_s"]["all"]["count"] == 3
    assert told["workers"] == [4, 2, 3]
    assert [kill["kind"] for kill in told["kills"]] == ["worker", "node", "driver"]
    assert told["kills"][0]["went_on_from_step"] == 7
    assert told["kills"][0]["recovery_s"]["first_step"] == 2


@pytest.mark.parametrize(
    ("drilled", "words"),
    [
        (report(rows=[EpochRows(2, 50, 1, 0)]), "epoch 2 lost 1 rows and repeated 0"),
        (report(rows=[EpochRows(2, 51, 0, 1)]), "epoch 2 lost 0 rows and repeated 1"),
        (report(comparison=replace(report().comparison, noise=0.001)), "further apart than"),
        (report(strikes=report().strikes[:2], recoveries=report().recoveries[:2]), "the last 1 of"),
        (report(recoveries=[*report().recoveries[:2], None]), r"went on after the kills \[3\]"),
        (report(max_recovery_s=25), "recovery took 29.0 s at the 95th percentile"),
    ],
)
def test_what_was_not_held_is_said(drilled: DrillReport, words: str) -> None:
    (fault,) = drilled.faults
    assert re.search(words, fault)


def test_the_picture_is_drawn_even_where_a_run_did_not_go_on(tmp_path: Path) -> None:
    draw_drill(report(recoveries=[*report().recoveries[:2], None]), tmp_path / "drill.png")
    assert (tmp_path / "drill.png").read_bytes().startswith(b"\x89PNG")
