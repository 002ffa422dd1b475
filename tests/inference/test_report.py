import json
from pathlib import Path

import numpy as np

from aiplat.inference.evaluate import SplitMetrics
from aiplat.inference.report import write_report
from aiplat.registry.confusion import Confusion


def test_the_report_has_the_metrics_the_errors_and_the_weakest_classes_first(
    tmp_path: Path,
) -> None:
    confusion = Confusion(("a", "b"), np.array([[9, 1], [5, 5]]))
    found = SplitMetrics("letters@1", "test", 20, {"accuracy": 0.7}, confusion)
    write_report(tmp_path, "reader:3", found)
    text = (tmp_path / "report.md").read_text()
    assert text.startswith("# reader:3 on test of letters@1")
    assert "| accuracy | 0.7000 |" in text
    assert "| b | a | 5 |" in text
    assert text.index("| b | 0.5000 |") < text.index("| a | 0.9000 |")
    assert (tmp_path / "confusion.png").is_file()
    measured = json.loads((tmp_path / "metrics.json").read_text())
    assert (measured["num_rows"], measured["metrics"]) == (20, {"accuracy": 0.7})


def test_without_classes_there_is_no_picture(tmp_path: Path) -> None:
    write_report(tmp_path, "guess:1", SplitMetrics("prices@1", "val", 3, {"error": 2.0}))
    assert {path.name for path in tmp_path.iterdir()} == {"report.md", "metrics.json"}
