"""Arms in real processes: each takes the seconds that importing torch takes."""

import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aiplat.cluster.processes import descendants
from aiplat.inference.measuring.arm import ArmWork
from aiplat.inference.measuring.process import ArmError, ArmProcess
from aiplat.inference.measuring.results import Arm
from tests.exported import color_folder


def arm_of(model: str, folder: Path) -> ArmProcess:
    """The process of ONNX Runtime on a model of tests/inference/models.py."""
    work = ArmWork(
        arm=Arm("onnxruntime", "fp32"),
        model=color_folder(folder / "model", model),
        rows=folder,
        program=folder / "program",
        log=folder / "log",
        device="cpu",
        threads=1,
    )
    return ArmProcess(work)


def test_an_engine_that_ends_its_process_is_told_with_the_signal(tmp_path: Path) -> None:
    with pytest.raises(ArmError, match="its process died in prepare: SIGSEGV"):
        arm_of("Dying", tmp_path).ask("prepare", timeout_s=120)


def test_an_engine_that_gives_no_answer_in_time_is_given_up(tmp_path: Path) -> None:
    process = arm_of("MeanColor", tmp_path)
    with pytest.raises(ArmError, match=r"gave no answer to prepare within 0\.5 s"):
        process.ask("prepare", timeout_s=0.5)
    with pytest.raises((ArmError, OSError)):
        process.ask("prepare", timeout_s=0.5)


def ask_endlessly(folder: Path) -> None:
    """What a job does with an arm that needs long."""
    arm_of("Endless", folder).ask("prepare", timeout_s=300)


def test_an_arm_at_work_ends_with_a_job_that_is_killed(tmp_path: Path) -> None:
    job = multiprocessing.get_context("spawn").Process(target=ask_endlessly, args=(tmp_path,))
    job.start()
    pid, log = job.pid, tmp_path / "log"
    assert pid is not None
    wait_until(lambda: log.is_file() and "at work" in log.read_text())
    processes = descendants(pid)
    assert processes
    job.kill()
    job.join()
    wait_until(lambda: not any(Path(f"/proc/{each}").exists() for each in processes))


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return once it is so; fail where it is not for very long."""
    deadline = time.monotonic() + 120
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)
