"""Python, torch and what lies between torch and a GPU."""

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from aiplat.doctor.finding import Finding, judged

_LEAST_PYTHON = (3, 11)
_DRIVER = Path("/proc/driver/nvidia/version")
# The first drivers on which programs of a major version of CUDA run, by NVIDIA's release notes.
_LEAST_DRIVER = {11: 450, 12: 525, 13: 580}


def check_python() -> Iterator[Finding]:
    """Its version, and whether processes that start have to compile what they import."""
    fits = sys.version_info >= _LEAST_PYTHON
    yield judged(
        "python",
        f"{platform.python_version()} at {sys.executable}",
        "ok" if fits else "problem",
        "use Python 3.11 or newer",
    )
    yield bytecode_finding("PYTHONDONTWRITEBYTECODE" in os.environ, _is_compiled("torch"))


def bytecode_finding(is_forbidden: bool, is_compiled: bool) -> Finding:
    """Whether each worker that starts compiles torch anew, which takes many seconds."""
    if is_forbidden:
        remedy = "unset PYTHONDONTWRITEBYTECODE, then start clusters anew"
        return Finding("bytecode", "PYTHONDONTWRITEBYTECODE is set", "warning", remedy)
    remedy = "compile once: python -m compileall -q <site-packages>, or uv pip install "
    return judged(
        "bytecode",
        "compiled" if is_compiled else "torch is not compiled",
        "ok" if is_compiled else "warning",
        f"{remedy}--compile-bytecode",
    )


def _is_compiled(module: str) -> bool:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return False
    return Path(importlib.util.cache_from_source(spec.origin)).exists()


def check_torch() -> Iterator[Finding]:
    """Its version, that of CUDA it was built for, the GPUs it sees, the driver, and NCCL."""
    import torch
    from torch import distributed

    cuda = torch.version.cuda
    built = f"for CUDA {cuda}" if cuda else "without CUDA"
    yield Finding("torch", f"{metadata.version('torch')} {built}")
    driver = driver_version(_DRIVER.read_text()) if _DRIVER.exists() else None
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    yield gpu_finding(names, driver, cuda)
    if names and distributed.is_nccl_available():
        version = ".".join(map(str, torch.cuda.nccl.version()))
        yield Finding("nccl", version)


def driver_version(text: str) -> str | None:
    """The version out of /proc/driver/nvidia/version."""
    found = re.search(r"Kernel Module.*?\s(\d+\.\d[\d.]*)", text)
    return found[1] if found else None


def gpu_finding(names: list[str], driver: str | None, cuda: str | None) -> Finding:
    """Whether torch can compute on the GPUs there are.

    names: of those torch sees. driver, cuda: their versions; None: there is none.
    """
    if driver is None:
        seen = ", ".join(names) or "none: models are trained and answer on the CPU"
        return Finding("gpu", seen)
    told = f"{', '.join(names) or 'none that torch sees'}; driver {driver}"
    if cuda is None:
        return Finding("gpu", told, "problem", "install the build of torch for CUDA")
    least = _LEAST_DRIVER.get(int(cuda.partition(".")[0]), 0)
    if int(driver.partition(".")[0]) < least:
        remedy = f"torch is built for CUDA {cuda}: install driver {least} or newer"
        return Finding("gpu", told, "problem", remedy)
    remedy = "let this process see the GPUs: CUDA_VISIBLE_DEVICES, or docker run --gpus all"
    return judged("gpu", told, "ok" if names else "problem", remedy)
