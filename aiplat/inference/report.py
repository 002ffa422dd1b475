"""The report of an evaluation: its metrics, what was taken for what, and a picture of that."""

import json
from pathlib import Path

from aiplat.inference.evaluate import SplitMetrics
from aiplat.registry.card import confusions, table
from aiplat.registry.confusion import draw_confusion
from aiplat.registry.folder import CONFUSION, METRICS

REPORT = "report.md"


def write_report(folder: Path, model: str, found: SplitMetrics) -> None:
    """Write the files into `folder`; model: the id of the version that was measured."""
    title = f"{model} on {found.split} of {found.dataset}"
    values = {"model": model, "dataset": found.dataset, "split": found.split}
    measured = {**values, "num_rows": found.num_rows, "metrics": found.metrics}
    (folder / METRICS).write_text(f"{json.dumps(measured, indent=2)}\n")
    rows = [[name, f"{value:.4f}"] for name, value in found.metrics.items()]
    parts = [f"# {title}", f"{found.num_rows:,} rows.", table(["metric", "value"], rows)]
    if found.confusion is not None:
        pictured = draw_confusion(found.confusion, title, folder / CONFUSION)
        parts += ["## Confusions", confusions(found.confusion, found.split, pictured)]
        recalls = found.confusion.recalls().items()
        weakest = sorted(recalls, key=lambda item: item[1])
        parts.append(
            table(["class", "recall"], [[name, f"{value:.4f}"] for name, value in weakest])
        )
    (folder / REPORT).write_text("\n\n".join(parts) + "\n")
