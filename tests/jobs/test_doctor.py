"""The job around the checks: its report, its flags and its exit status."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from aiplat.doctor import machine
from aiplat.doctor.finding import Finding
from aiplat.errors import AiplatError
from aiplat.jobs import doctor
from aiplat.jobs.cluster_schema import DoctorConfig
from aiplat.jobs.doctor_report import write_table

WITHOUT = ["measure=false", "cluster.address=local"]


def test_programs_get_every_finding_as_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "aiplat.jobs.doctor", "--json", *WITHOUT]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert {"python", "bytecode", "torch", "gpu", "memory", "shared memory", "open files"} <= set(
        findings
    )
    assert all(finding["remedy"] for finding in findings.values() if finding["level"] != "ok")
    problems = [finding for finding in findings.values() if finding["level"] == "problem"]
    assert done.returncode == (2 if problems else 0)
    # It looks, and leaves nothing behind.
    assert list(tmp_path.iterdir()) == []


def test_a_problem_is_a_fault_of_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        machine, "check_limits", lambda: [Finding("open files", "256", "problem", "ulimit")]
    )
    config = DoctorConfig(format="json", measure=False)
    config.cluster.address = "local"
    with pytest.raises(AiplatError, match=r"1 of \d+ checks found a problem: open files: 256"):
        doctor.main(config)
    assert '"value": "256"' in capsys.readouterr().out


def test_people_read_the_remedy_below_what_was_found() -> None:
    stream = io.StringIO()
    write_table([Finding("open files", "[256]", "warning", "ulimit -n 65536")], stream)
    assert [line.split() for line in stream.getvalue().splitlines() if line.strip()] == [
        ["open", "files", "warning", "[256]"],
        ["ulimit", "-n", "65536"],
    ]
