"""Archives of source data, unpacked so that no member can write or read outside the folder."""

import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from aiplat.datasets.source import existing
from aiplat.errors import DataError
from aiplat.store import files

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_CHUNK_BYTES = 1 << 20
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    EOFError,
    RuntimeError,  # zipfile, for what is encrypted
)
# Small archives of very regular content may well expand a thousandfold.
_RATIO_FREE_BYTES = 64 << 20


@dataclass(frozen=True)
class Limits:
    """How much an archive may hold, against archives made to fill a disk.

    max_ratio: unpacked over packed bytes, beyond the first 64 MiB.
    """

    max_bytes: int = 512 << 30
    max_files: int = 10_000_000
    max_ratio: float = 200.0


@contextmanager
def unpacked(
    source: Mapping[str, Any], storage: str, limits: Limits | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the source's arguments, with a temporary folder for `path` where that is an archive.

    The folder lies under the storage, where every node can read it, and vanishes afterwards.
    Raises DataError where the archive is damaged, unsafe or too large.
    """
    path = source.get("path")
    if not isinstance(path, str) or not path.lower().endswith(SUFFIXES):
        yield dict(source)
        return
    archive = existing(path)
    if archive.is_dir():
        yield dict(source)
        return
    if files.is_remote(storage):
        raise DataError(
            f"source.path={path} is an archive, which needs a local storage to be unpacked in, and"
            f" storage={storage} is remote: unpack it where every node can read it"
        )
    scratch = Path(files.absolute(storage)) / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="unpacked-", dir=scratch))
    try:
        unpack(archive, folder, limits or Limits())
        yield {**source, "path": str(folder)}
    finally:
        shutil.rmtree(folder)


def unpack(archive: Path, folder: Path, limits: Limits) -> None:
    """Unpack all files of the archive below `folder`; nothing is kept of names that lead outside.

    Raises DataError; `folder` may then hold some of the files.
    """
    members = _zip_members if archive.name.lower().endswith(".zip") else _tar_members
    budget = _Budget(archive, limits)
    try:
        for name, stream in members(archive):
            budget.file()
            target = folder / _safe(name, archive)
            if stream is None:
                # Empty folders matter: one may be a class without images.
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # Mode x: a second member of the same name must not overwrite the first.
            with target.open("xb") as output:
                while chunk := stream.read(_CHUNK_BYTES):
                    budget.spend(len(chunk))
                    output.write(chunk)
    except _DAMAGED as error:
        raise DataError(f"{archive} is no archive that can be unpacked: {error}") from error
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise DataError(f"{archive} holds two members of one name: {error.filename}") from error


class _Budget:
    """What may still be unpacked."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self.archive = archive
        self.files_left = limits.max_files
        by_ratio = int(archive.stat().st_size * limits.max_ratio)
        self.bytes_left = min(limits.max_bytes, max(by_ratio, _RATIO_FREE_BYTES))

    def file(self) -> None:
        self.files_left -= 1
        if self.files_left < 0:
            raise DataError(f"{self.archive} holds too many files")

    def spend(self, num_bytes: int) -> None:
        self.bytes_left -= num_bytes
        if self.bytes_left < 0:
            raise DataError(
                f"{self.archive} unpacks to far more than its own size; unpack it by hand if you"
                " trust it"
            )


def _safe(name: str, archive: Path) -> PurePosixPath:
    path = PurePosixPath(name)
    # A backslash or a drive letter is part of a name here and a way out elsewhere.
    outside = path.is_absolute() or ".." in path.parts or PureWindowsPath(name).drive
    if outside or "\\" in name or "\0" in name:
        raise DataError(f"{archive} is not unpacked: its member {name!r} leads outside of it")
    return path


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Each member's name and content; no content for a folder."""
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if info.is_dir():
                yield info.filename, None
                continue
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise DataError(f"{archive}: its member {info.filename!r} is a link or a device")
            with opened.open(info) as stream:
                yield info.filename, stream


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Each member's name and content; no content for a folder."""
    with tarfile.open(archive) as opened:
        for info in opened:
            if info.isdir():
                yield info.name, None
                continue
            stream = opened.extractfile(info) if info.isreg() else None
            if stream is None:
                raise DataError(f"{archive}: its member {info.name!r} is a link or a device")
            yield info.name, stream
