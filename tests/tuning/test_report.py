"""What a study found, as files to be looked at."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from aiplat.tuning.report import StudyFacts, write_report
from aiplat.tuning.study import Ending, Study
from tests.tuning.studies import draw, ended, go, open_study, score

FACTS = StudyFacts("digits <b>", ["accuracy"], max_epochs=9)
PICTURES = {"history", "parallel", "importances", "slices", "epochs"}


def read(folder: Path) -> tuple[Any, list[dict[str, str]], str]:
    """The summary, the rows of the table and the page."""
    with (folder / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    summary = json.loads((folder / "summary.json").read_text())
    return summary, rows, (folder / "report.html").read_text()


def pictures(folder: Path) -> set[str]:
    found = list(folder.glob("*.png"))
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in found)
    return {path.stem for path in found}


def loaded(page: str) -> list[str]:
    """The tags of the page that would fetch something from elsewhere."""
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page)
    return [tag for tag in tags if re.search(r"(?:src|href)\s*=", tag)]


def mixed(study: Study) -> None:
    """Four complete trials, one that is pruned after 3 of 9 epochs and one that fails."""
    for _ in range(4):
        trial = draw(study)
        for epoch in range(1, 10):
            study.report(trial.number, epoch, score(trial.values) * epoch / 9)
        study.complete(trial.number, ended(score(trial.values)))
    pruned, failed = draw(study), draw(study)
    for epoch in (1, 2, 3):
        study.report(pruned.number, epoch, 0.1)
    study.prune(pruned.number)
    study.report(failed.number, 1, 0.1)
    study.fail(failed.number, "oom", 'oom: <no> memory, "at" all')


def test_a_study_of_several_trials_is_told_in_full(tmp_path: Path) -> None:
    study = open_study(None)
    mixed(study)
    assert write_report(study, FACTS, tmp_path / "report") == []
    assert pictures(tmp_path / "report") == PICTURES
    summary, rows, page = read(tmp_path / "report")
    best = study.best()[0]
    assert summary == {
        "study": "digits <b>",
        "counts": {
            "complete": 4,
            "pruned": 1,
            "failed": 1,
            "epochs": 4 * 9 + 3 + 1,
            "saved_epochs": 6,
        },
        "best": [
            {
                "trial": best.number,
                "accuracy": best.values[0],
                "settings": best.user_attrs["values"],
            }
        ],
        "failures": {"5": 'oom: <no> memory, "at" all'},
    }
    assert [row["trial"] for row in rows] == ["0", "1", "2", "3", "4", "5"]
    assert [row["state"] for row in rows] == [*["complete"] * 4, "pruned", "fail"]
    assert [row["epochs"] for row in rows] == [*["9"] * 4, "3", "1"]
    for row, trial in zip(rows, study.trials, strict=True):
        assert float(row["optim.lr"]) == trial.params["optim.lr"]
        assert float(row["model.dropout"]) == trial.params["model.dropout"]
    assert float(rows[best.number]["accuracy"]) == score(best.params)
    assert (rows[5]["cause"], rows[5]["failure"]) == ("oom", 'oom: <no> memory, "at" all')
    assert (rows[5]["accuracy"], rows[0]["failure"], rows[0]["seconds"]) == ("", "", "1.5")
    assert "4 complete, 1 pruned (6 epochs saved), 1 failed; 40 epochs trained" in page
    assert "<h1>Study digits &lt;b&gt;</h1>" in page
    assert "oom: &lt;no&gt; memory" in page
    assert f"<li>trial {best.number}: accuracy {best.values[0]:.6g}" in page


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    study = open_study(None)
    mixed(study)
    write_report(study, FACTS, tmp_path)
    page = read(tmp_path)[2]
    assert loaded(page) == []
    # plotly's own code is in it, and once.
    assert 1_000_000 < len(page) < 8_000_000
    assert page.count("Plotly.newPlot(") >= len(PICTURES)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_study_of_few_trials_is_told_as_far_as_there_is_anything(
    tmp_path: Path, count: int
) -> None:
    study = open_study(None)
    go(study, count)
    missing = write_report(study, FACTS, tmp_path)
    summary, rows, page = read(tmp_path)
    assert summary["counts"]["complete"] == len(rows) == len(summary["best"]) + max(0, count - 1)
    assert ("<li>none</li>" in page) == (count == 0)
    assert {note.partition(":")[0] for note in missing} | pictures(tmp_path) == PICTURES
    assert loaded(page) == []


def test_of_a_study_without_a_result_no_empty_picture_is_drawn(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = write_report(open_study(None), FACTS, tmp_path)
    assert pictures(tmp_path) == set()
    assert missing != []
    # Optuna has its own way to say so.
    assert capfd.readouterr() == ("", "")


def test_a_study_whose_trials_all_failed_says_why(tmp_path: Path) -> None:
    study = open_study(None)
    for index in range(3):
        study.fail(draw(study).number, "nan", f"nan: loss of step {index}")
    write_report(study, FACTS, tmp_path)
    summary, rows, page = read(tmp_path)
    assert (summary["best"], summary["counts"]["failed"]) == ([], 3)
    assert summary["failures"]["2"] == "nan: loss of step 2"
    assert [row["cause"] for row in rows] == ["nan"] * 3
    assert "<h2>Failed</h2>" in page


def test_trials_all_alike_leave_out_what_cannot_be_drawn(tmp_path: Path) -> None:
    study = open_study(None, {"model.widths": {"choice": [[8], [8, 8]]}}, num_trials=5)
    while (drawn := study.draw()) is not None:
        study.report(drawn.number, 1, 0.5)
        study.complete(drawn.number, ended(0.5))
    missing = write_report(study, FACTS, tmp_path)
    assert {note.partition(":")[0] for note in missing} | pictures(tmp_path) == PICTURES
    assert json.loads(read(tmp_path)[1][0]["model.widths"]) in ([8], [8, 8])


def test_settings_that_only_some_trials_have_are_empty_in_the_others(tmp_path: Path) -> None:
    space = {
        "optim": {"choice": ["adamw", "sgd"]},
        "optim.momentum": {"uniform": [0.5, 0.9], "when": {"optim": "sgd"}},
    }
    study = open_study(None, space, num_trials=8)
    while (drawn := study.draw()) is not None:
        study.complete(drawn.number, ended(0.1 * drawn.number))
    write_report(study, FACTS, tmp_path)
    rows = read(tmp_path)[1]
    assert {row["optim"] for row in rows} == {"adamw", "sgd"}
    assert all((row["optim.momentum"] == "") == (row["optim"] == "adamw") for row in rows)


def test_of_several_objectives_the_front_is_told(tmp_path: Path) -> None:
    objectives: list[Any] = ["metric", "num_parameters"]
    study = open_study(
        None, directions=("maximize", "minimize"), objectives=objectives, num_trials=5
    )
    for values in ((0.9, 100.0), (0.8, 50.0), (0.7, 80.0), (0.95, 400.0)):
        number = draw(study).number
        study.complete(number, Ending(values, 9, 1.0, {"accuracy": values[0]}))
    study.fail(draw(study).number, "lost", "lost: node gone")
    facts = StudyFacts("digits", ["accuracy", "num_parameters"], max_epochs=9)
    assert write_report(study, facts, tmp_path) == []
    summary, rows, page = read(tmp_path)
    front = {entry["trial"]: entry["num_parameters"] for entry in summary["best"]}
    assert front == {0: 100.0, 1: 50.0, 3: 400.0}
    assert pictures(tmp_path) == PICTURES - {"epochs"} | {"front"}
    assert [row["num_parameters"] for row in rows] == ["100.0", "50.0", "80.0", "400.0", ""]
    assert loaded(page) == []
