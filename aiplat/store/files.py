"""Files under a storage root, local or remote: URIs, atomic writes, content hashes.

A storage root is a local path or any URI pyarrow can open (`s3://`, `gs://`, ...). What is
published here is either wholly there or not at all: a local folder is renamed into place, a remote
one is complete once its marker file, always written last, exists.
"""

import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiplat.errors import AiplatError

if TYPE_CHECKING:
    from pyarrow import fs

_CHUNK_BYTES = 1 << 20


def is_remote(uri: str) -> bool:
    """Whether a URI names an object store rather than a file system path."""
    return "://" in uri and not uri.startswith("file://")


def absolute(uri: str) -> str:
    """The same place from every working directory: workers and submitted jobs have their own."""
    if is_remote(uri):
        return uri.rstrip("/")
    return str(Path(uri.removeprefix("file://")).expanduser().resolve())


def join(root: str, *parts: str) -> str:
    """A place below `root`, itself a path or a URI."""
    return "/".join([root.rstrip("/"), *parts])


def opened(uri: str) -> "tuple[fs.FileSystem, str]":
    """The file system behind a URI and the path within it."""
    # Takes 0.2 s; who only joins paths need not wait for it.
    from pyarrow import fs

    if not is_remote(uri):
        return fs.LocalFileSystem(), absolute(uri)
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (OSError, ValueError) as error:
        raise AiplatError(f"cannot open storage {uri!r}: {error}") from error
    return filesystem, path


def exists(uri: str) -> bool:
    """Whether a file or folder is there."""
    filesystem, path = opened(uri)
    return bool(filesystem.get_file_info(path).type.name != "NotFound")


def read_bytes(uri: str) -> bytes:
    """The whole content of a file."""
    filesystem, path = opened(uri)
    with filesystem.open_input_stream(path) as stream:
        return bytes(stream.read())


def read_json(uri: str) -> Any:
    """The value a JSON file holds."""
    return json.loads(read_bytes(uri))


def write_bytes(uri: str, data: bytes) -> None:
    """Write a whole file or nothing: readers never see half of it."""
    filesystem, path = opened(uri)
    if is_remote(uri):
        with filesystem.open_output_stream(path) as stream:
            stream.write(data)
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        with draft.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_json(uri: str, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_bytes(uri, f"{text}\n".encode())


def list_folders(uri: str) -> list[str]:
    """Names of the folders directly below `uri`, sorted; drafts (hidden names) are left out."""
    return sorted(info.base_name for info in _entries(uri) if info.type.name == "Directory")


def list_files(uri: str) -> list[str]:
    """Names of the files directly below `uri`, sorted; drafts (hidden names) are left out."""
    return sorted(info.base_name for info in _entries(uri) if info.is_file)


def sizes(uri: str) -> dict[str, int]:
    """Bytes of each file directly below `uri`, by name; drafts (hidden names) are left out."""
    return {info.base_name: info.size for info in _entries(uri) if info.is_file}


def _entries(uri: str) -> "list[fs.FileInfo]":
    from pyarrow import fs

    filesystem, path = opened(uri)
    infos = filesystem.get_file_info(fs.FileSelector(path, allow_not_found=True))
    return [info for info in infos if not info.base_name.startswith(".")]


def remove_file(uri: str) -> None:
    """Remove a file that exists."""
    filesystem, path = opened(uri)
    filesystem.delete_file(path)


def remove_drafts(uri: str) -> None:
    """Remove the drafts directly below `uri` that writers which died left behind."""
    if is_remote(uri):
        return
    for draft in Path(absolute(uri)).glob(".*"):
        if draft.is_dir():
            shutil.rmtree(draft, ignore_errors=True)
        else:
            draft.unlink(missing_ok=True)


def remove_folder(uri: str) -> None:
    """Remove a folder and all below it; nothing happens where there is none."""
    filesystem, path = opened(uri)
    if filesystem.get_file_info(path).type.name == "Directory":
        filesystem.delete_dir(path)


@contextmanager
def draft_folder(target: str, marker: str) -> Iterator[str]:
    """Yield a folder to fill; it becomes `target` when the block ends well and vanishes otherwise.

    `marker` is the file whose presence makes a remote folder count; the block must write it last.
    If `target` came to exist meanwhile (another process made the same thing), that one is kept.
    """
    if is_remote(target):
        # Object stores cannot rename: the block writes in place and the marker decides.
        try:
            yield target
        except BaseException:
            if not exists(join(target, marker)):
                remove_folder(target)
            raise
        return
    final = Path(absolute(target))
    draft = final.with_name(f".{final.name}.{uuid.uuid4().hex}")
    draft.mkdir(parents=True)
    try:
        yield str(draft)
        try:
            draft.rename(final)
        except OSError:
            if not (final / marker).exists():
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def copy_folder(source: str, target: str) -> None:
    """Copy every file below `source` to `target`; either may be remote."""
    from pyarrow import fs

    source_system, source_path = opened(source)
    target_system, target_path = opened(target)
    target_system.create_dir(target_path)
    fs.copy_files(
        source_path,
        target_path,
        source_filesystem=source_system,
        destination_filesystem=target_system,
    )


@contextmanager
def filled(folder: str) -> Iterator[Path]:
    """Yield a local folder to write into; its files are on disk below `folder` when it ends well.

    Names of files must differ from what `folder` has already.
    """
    if not is_remote(folder):
        path = Path(absolute(folder))
        path.mkdir(parents=True, exist_ok=True)
        yield path
        _sync(path)
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)
        copy_folder(scratch, folder)


@contextmanager
def fetched(folder: str, names: Iterable[str] | None = None) -> Iterator[Path]:
    """Yield a local folder with what `folder` holds: itself, or a copy that lives as long.

    names: the files needed, below `folder`; None: all.
    """
    if not is_remote(folder):
        yield Path(absolute(folder))
        return
    from pyarrow import fs

    with tempfile.TemporaryDirectory() as scratch:
        if names is None:
            copy_folder(folder, scratch)
        else:
            for name in names:
                filesystem, path = opened(join(folder, name))
                fs.copy_files(path, join(scratch, name), source_filesystem=filesystem)
        yield Path(scratch)


def file_hash(path: Path) -> str:
    """SHA-256 of a local file, in hex."""
    return content_hash(str(path))


def content_hash(uri: str) -> str:
    """SHA-256 of a file, in hex; the file is read piece by piece."""
    digest = hashlib.sha256()
    filesystem, path = opened(uri)
    with filesystem.open_input_stream(path) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def folder_hashes(folder: str) -> dict[str, str]:
    """SHA-256 of every file below `folder`, hidden ones too, by its name relative to it."""
    from pyarrow import fs

    filesystem, path = opened(folder)
    infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    found = [info.path for info in infos if info.type == fs.FileType.File]
    names = sorted(name[len(path.rstrip("/")) + 1 :] for name in found)
    return {name: content_hash(join(folder, name)) for name in names}


def _sync(folder: Path) -> None:
    """Return once the files of a local folder are on disk."""
    for path in folder.rglob("*"):
        # Of a folder that several processes fill, another one may rename its drafts meanwhile.
        with suppress(FileNotFoundError, IsADirectoryError), path.open("rb") as stream:
            os.fsync(stream.fileno())
