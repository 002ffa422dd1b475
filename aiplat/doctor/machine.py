"""Memory, disk, limits and ports of this machine, held against what clusters and training need."""

import errno
import os
import resource
import shutil
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from aiplat.doctor.finding import Finding, judged, level_of

_GB = 1e9
_LEAST_MEMORY_GB = 4
# What Ray takes of the memory for objects, which lie in shared memory.
_OBJECT_STORE_SHARE = 0.3
_LEAST_SHARED_GB = 1
_LEAST_FREE_GB = 20
# Of the disk; beyond it Ray starts no tasks on a node.
_FULL = 0.95
_LEAST_OPEN_FILES = 65536
_TOO_FEW_OPEN_FILES = 8192
_LEAST_PROCESSES = 4096
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where it is mounted

PORTS: Mapping[str, int] = {"Ray": 6379, "dashboard": 8265, "Ray client": 10001, "endpoint": 8000}


def check_memory() -> Iterator[Finding]:
    """Of the machine, and the part of it that processes can share."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GB
    yield judged(
        "memory",
        f"{memory:.1f} GB",
        "ok" if memory >= _LEAST_MEMORY_GB else "warning",
        f"have {_LEAST_MEMORY_GB} GB or more: a worker with torch needs about 1 GB",
    )
    yield shared_memory_finding(shutil.disk_usage(_SHARED_MEMORY).free / _GB, memory)


def shared_memory_finding(shared_gb: float, memory_gb: float) -> Finding:
    """Whether Ray's objects fit; where they do not, they go to the disk, which is far slower."""
    wanted = max(_LEAST_SHARED_GB, _OBJECT_STORE_SHARE * memory_gb)
    remedy = (
        f"give the container {wanted:.0f} GB or more: docker run --shm-size={wanted:.0f}g, or a "
        "volume in memory at /dev/shm"
    )
    return judged(
        "shared memory",
        f"{shared_gb:.1f} GB",
        level_of(shared_gb < _LEAST_SHARED_GB, shared_gb >= wanted),
        remedy,
    )


def check_disk(folders: Iterable[tuple[str, str]]) -> Iterator[Finding]:
    """What is free where things are written. folders: what each is for, and where it is."""
    for purpose, folder in folders:
        usage = shutil.disk_usage(existing(folder))
        yield disk_finding(purpose, folder, usage.free / _GB, 1 - usage.free / usage.total)


def existing(folder: str) -> str:
    """The folder, or the nearest above it that is there."""
    path = Path(folder)
    return str(next(place for place in (path, *path.absolute().parents) if place.exists()))


def disk_finding(purpose: str, folder: str, free_gb: float, used: float) -> Finding:
    """Whether there is room. used: share of the disk that is not free to us."""
    return judged(
        f"disk of {purpose}",
        f"{free_gb:.0f} GB free, {used:.0%} used ({folder})",
        level_of(used > _FULL, free_gb >= _LEAST_FREE_GB),
        f"make room: Ray starts no tasks on a node whose disk is more than {_FULL:.0%} full"
        if used > _FULL
        else f"have {_LEAST_FREE_GB} GB free, for checkpoints and what does not fit into memory",
    )


def check_limits() -> Iterator[Finding]:
    """How many files and processes one user may have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield open_files_finding(files)
    processes, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    unlimited = processes == resource.RLIM_INFINITY
    yield judged(
        "processes",
        "unlimited" if unlimited else f"{processes}",
        "ok" if unlimited or processes >= _LEAST_PROCESSES else "warning",
        f"ulimit -u {_LEAST_PROCESSES}, before a cluster is started",
    )


def open_files_finding(files: int) -> Finding:
    """Whether the nodes of a cluster can open what they need: files and many sockets."""
    enough = files >= _LEAST_OPEN_FILES or files == resource.RLIM_INFINITY
    return judged(
        "open files",
        "unlimited" if files == resource.RLIM_INFINITY else f"{files}",
        level_of(0 <= files < _TOO_FEW_OPEN_FILES, enough),
        f"ulimit -n {_LEAST_OPEN_FILES}, before a cluster is started",
    )


def check_ports(ports: Mapping[str, int] = PORTS) -> Iterator[Finding]:
    """Whether the ports that clusters and endpoints take are free. ports: by what takes them."""
    for name, port in ports.items():
        yield judged(
            f"port {port}",
            f"free ({name})" if _is_free(port) else f"taken ({name})",
            "ok" if _is_free(port) else "warning",
            "a cluster that runs here takes it; otherwise end what listens there, or choose "
            "another port",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True
