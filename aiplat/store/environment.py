"""What a result was made with: the commit of the code, the versions of its parts, the platform."""

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import aiplat
from aiplat.store.files import file_hash

UNKNOWN = "unknown"

_PARTS = ("aiplat", "torch", "torchvision", "transformers", "ray", "mlflow", "numpy", "pyarrow")
_GIT_TIMEOUT_S = 10


def checkout() -> Path:
    """The folder that holds the package: a checkout, an unpacked job, or site-packages."""
    return Path(aiplat.__file__).resolve().parents[1]


def commit() -> str:
    """The commit of the code that runs, with `-dirty` where files were changed since.

    A job submitted without its history, or an image, says it in `AIPLAT_COMMIT`.
    """
    git = shutil.which("git")
    if git and (checkout() / ".git").exists():
        answer = subprocess.run(  # noqa: S603 - a fixed command
            [
                git,
                "-C",
                str(checkout()),
                "describe",
                "--always",
                "--dirty",
                "--abbrev=40",
                "--exclude=*",
            ],
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
        if answer.returncode == 0:
            return answer.stdout.strip()
    return os.environ.get("AIPLAT_COMMIT") or UNKNOWN


def environment() -> dict[str, str]:
    """Python, platform and versions; `requirements` is the hash of the lock file, if any."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for part in _PARTS:
        try:
            found[part] = metadata.version(part)
        except metadata.PackageNotFoundError:
            continue
    lock = checkout() / "requirements.lock"
    if lock.is_file():
        found["requirements"] = f"sha256:{file_hash(lock)}"
    return found
