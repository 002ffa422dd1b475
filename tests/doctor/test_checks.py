"""What is said of machines that lack something, and of this one."""

import socket
from collections.abc import Iterator

import pytest

from aiplat.doctor import machine, software
from aiplat.doctor.finding import Finding, looked_at

DRIVER = """NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024
GCC version:  gcc version 12.3.0
"""


def test_what_is_well_has_no_remedy_and_what_is_not_has_one() -> None:
    findings = [
        machine.open_files_finding(1024),
        machine.open_files_finding(20_000),
        machine.open_files_finding(65_536),
        machine.open_files_finding(-1),
    ]
    assert [finding.level for finding in findings] == ["problem", "warning", "ok", "ok"]
    assert findings[0].remedy == "ulimit -n 65536, before a cluster is started"
    assert findings[2].remedy == ""
    assert findings[3].value == "unlimited"


def test_shared_memory_is_measured_by_what_ray_takes_of_the_memory() -> None:
    assert machine.shared_memory_finding(10, 32).level == "ok"
    little = machine.shared_memory_finding(5, 64)
    assert (little.level, little.value) == ("warning", "5.0 GB")
    assert "--shm-size=19g" in little.remedy
    # What Docker gives by itself.
    assert machine.shared_memory_finding(0.064, 4).level == "problem"


def test_a_full_disk_is_a_problem_and_a_small_one_a_warning() -> None:
    assert machine.disk_finding("storage", "/data", 500, 0.5).level == "ok"
    assert machine.disk_finding("storage", "/data", 5, 0.5).level == "warning"
    full = machine.disk_finding("storage", "/data", 100, 0.96)
    assert (full.name, full.level) == ("disk of storage", "problem")
    assert "Ray starts no tasks on a node whose disk is more than 95% full" in full.remedy


def test_a_folder_that_is_not_there_yet_lies_on_the_disk_of_the_one_above(tmp_path: object) -> None:
    assert machine.existing(f"{tmp_path}/a/b") == str(tmp_path)


def test_a_port_that_someone_listens_on_is_told() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = int(listener.getsockname()[1])
        (taken,) = machine.check_ports({"endpoint": port})
    (free,) = machine.check_ports({"endpoint": port})
    assert (taken.level, taken.value) == ("warning", "taken (endpoint)")
    assert (free.level, free.value) == ("ok", "free (endpoint)")


def test_the_driver_is_read_from_where_the_kernel_tells_it() -> None:
    assert software.driver_version(DRIVER) == "550.54.15"
    assert software.driver_version("nothing of the kind") is None


@pytest.mark.parametrize(
    ("names", "driver", "cuda", "level", "told"),
    [
        ([], None, "13.2", "ok", ""),
        (["H100"], "580.65.06", "13.2", "ok", ""),
        (["H100"], "550.54.15", "12.8", "ok", ""),
        ([], "550.54.15", "13.2", "problem", "for CUDA 13.2: install driver 580 or newer"),
        ([], "580.65.06", "13.2", "problem", "docker run --gpus all"),
        ([], "580.65.06", None, "problem", "install the build of torch for CUDA"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_told_with_why(
    names: list[str], driver: str | None, cuda: str | None, level: str, told: str
) -> None:
    finding = software.gpu_finding(names, driver, cuda)
    assert finding.level == level
    assert told in finding.remedy


def test_workers_that_would_compile_torch_at_each_start_are_told() -> None:
    assert software.bytecode_finding(is_forbidden=False, is_compiled=True).level == "ok"
    assert "unset PYTHON" in software.bytecode_finding(True, True).remedy
    assert "compileall" in software.bytecode_finding(False, False).remedy


def test_a_check_that_fails_is_a_finding_and_hides_no_other() -> None:
    def check() -> Iterator[Finding]:
        yield Finding("disk", "there")
        raise OSError("read-only file system\nmore of it")

    disk, failed = looked_at("limits", check)
    assert disk.value == "there"
    assert (failed.name, failed.level) == ("limits", "problem")
    assert failed.value == "OSError: read-only file system"
