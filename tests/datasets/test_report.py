import io

from rich.console import Console

from aiplat.datasets.report import Report, render
from aiplat.datasets.source import Problem


def text_of(report: Report) -> str:
    console = Console(file=io.StringIO(), width=120)
    console.print(render(report))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_shows_counts_and_examples_of_each_kind_of_problem() -> None:
    problems = [Problem("missing file", f"pairs.jsonl:{row}", f"no {row}.png") for row in range(9)]
    problems.append(Problem("ignored file", "[bold]x.txt", "not an image", "warning"))
    shown = text_of(
        Report(
            dataset="pairs",
            version="0123",
            num_seen=21,
            num_skipped=9,
            rows={"train": 9, "test": 3},
            counts={"train": {"[red]cat": 6, "dog": 3}, "test": {"[red]cat": 2, "dog": 1}},
            problems=problems,
        )
    )
    assert "error: missing file" in shown
    assert "pairs.jsonl:2: no 2.png" in shown
    assert "pairs.jsonl:3" not in shown
    assert "[bold]x.txt" in shown
    assert "[red]cat" in shown
    assert "21 rows seen, 9 skipped, 10 problems" in shown


def test_the_json_lists_every_problem() -> None:
    problems = [Problem("missing file", f"pairs.jsonl:{row}", "gone") for row in range(50)]
    value = Report("pairs", None, 50, 50, problems=problems).to_json()
    assert value["problem_counts"] == {"missing file": 50}
    assert [problem["origin"] for problem in value["problems"]][49] == "pairs.jsonl:49"


def test_a_set_without_classes_or_problems_is_shown_too() -> None:
    shown = text_of(Report("texts", "0123", 5, 0, {"train": 5}, {"train": {}}))
    assert "5 rows seen, 0 problems" in shown
    assert "class" not in shown
