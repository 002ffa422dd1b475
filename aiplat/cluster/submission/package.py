"""What travels with a submitted job: the files that git tracks, as one archive.

The same files are the same bytes, so that the cluster knows an archive it has already.
"""

import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path

from aiplat.errors import ClusterError, ConfigError

IGNORE_FILE = ".rayignore"
_NUM_NAMED = 5
# The first moment that the format can tell.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def tracked(folder: Path) -> list[str]:
    """Files below `folder` that git tracks and .rayignore does not name, relative to it, sorted.

    As they are now, committed or not. Raises ConfigError where git tracks nothing there.
    """
    listed = _git(folder, "--cached")
    if not listed:
        raise ConfigError(f"git tracks no file below {folder}: only what it tracks travels")
    left_out = _left_out(folder)
    ignored = set(_git(folder, "--cached", "--ignored", *left_out)) if left_out else set()
    return [name for name in listed if name not in ignored and (folder / name).is_file()]


def left_behind(folder: Path) -> list[str]:
    """Files below `folder` that would travel if git tracked them, and that it was not told of."""
    return _git(folder, "--others", "--exclude-standard", *_left_out(folder))


def everything(folder: Path) -> list[str]:
    """All files below `folder` that were not made by running what is there, sorted."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if "__pycache__" not in path.parts)


def pack(folder: Path, names: Iterable[str], target: Path) -> None:
    """Write the files as an archive."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = ((folder / name).stat().st_mode & 0o777) << 16
            archive.writestr(entry, (folder / name).read_bytes())


def check_size(archive: Path, limit_mb: int) -> None:
    """Raise ConfigError that names the largest files where an archive is above a limit, in MiB."""
    size = archive.stat().st_size
    if size <= limit_mb << 20:
        return
    with zipfile.ZipFile(archive) as opened:
        largest = sorted(opened.infolist(), key=lambda entry: -entry.compress_size)[:_NUM_NAMED]
    named = ", ".join(f"{entry.filename} ({_mb(entry.compress_size)})" for entry in largest)
    raise ConfigError(
        f"what would travel with the job has {_mb(size)} compressed, above "
        f"max_package_mb={limit_mb}; the largest files: {named}. Name what the job can do without "
        f"in {IGNORE_FILE}, and put data into the storage"
    )


def _left_out(folder: Path) -> list[str]:
    """The option by which git leaves out what .rayignore names."""
    return [f"--exclude-from={IGNORE_FILE}"] if (folder / IGNORE_FILE).is_file() else []


def _mb(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _git(folder: Path, *options: str) -> list[str]:
    command = ["git", "-C", str(folder), "ls-files", "-z", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError as error:
        raise ClusterError("git is not installed: only what it tracks travels") from error
    if done.returncode:
        raise ConfigError(
            f"{folder} is in no git repository: only what git tracks travels with a job; "
            "'git init && git add .' makes it one"
        )
    return sorted(name for name in done.stdout.split("\0") if name)
