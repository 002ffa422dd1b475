"""The notebook one starts with runs from its first cell to its last."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from aiplat.cluster.session import Session

FOLDER = Path(__file__).resolve().parents[2] / "deploy/compose/notebooks"


@pytest.mark.cluster
def test_the_starter_notebook_runs(cluster: Session, tmp_path: Path) -> None:
    cells = json.loads((FOLDER / "start.ipynb").read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    environment = {**os.environ, "STORAGE": str(tmp_path), "MPLBACKEND": "agg"}
    # Its jobs would each start a cluster, as the first of test_readme.py does.
    environment["RAY_ADDRESS"] = cluster.address
    environment.pop("RAY_API_SERVER_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=FOLDER,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    accuracy = float(done.stdout.rsplit("accuracy at last:", 1)[1])
    assert accuracy > 0.8
