"""A folder of images whose class is the name of a folder above each file, at any depth."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from aiplat.datasets.source import (
    IMAGE_SUFFIXES,
    SPLIT_WORDS,
    WARNING,
    Block,
    Fault,
    Problem,
    RawRow,
    Rows,
    assemble,
    existing,
    shown,
)
from aiplat.datasets.versions import Column
from aiplat.errors import ConfigError, DataError

_COLUMNS = (Column("image", "image"), Column("label", "label"))
_BLOCK_FILES = 256
_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class _File:
    """An image: its name on disk below the root, its split and its class."""

    name: str
    split: str | None
    label: str | None


@dataclass(frozen=True)
class ImageFiles:
    """Some image files of one folder."""

    root: str
    entries: tuple[_File, ...]

    def read(self, rows: Sequence[int] | None = None) -> Rows:
        """The files asked for; see Block."""
        chosen = self.entries if rows is None else [self.entries[row] for row in rows]
        return assemble(_COLUMNS, map(self._row, chosen))

    def _row(self, file: _File) -> RawRow:
        path = shown(file.name)
        image, faults = None, []
        try:
            image = {"bytes": Path(self.root, file.name).read_bytes(), "path": path}
        except OSError as error:
            faults.append(Fault("unreadable file", str(error.strerror)))
        if file.label is None:
            faults.append(Fault("missing label", "no folder above the file names its class"))
        values = {"image": image, "label": file.label}
        return RawRow(path, values, file.split, tuple(faults))


@dataclass
class ImageFolder:
    """Images in class folders.

    The class of an image is the folder directly above it; with `class_level` it is the folder that
    many levels below the root (1: directly below). If all folders directly below the root are
    called as splits (train, val, test, ...), they are the splits and count as no level. A root
    that holds nothing but one folder is looked through for this.
    """

    path: str
    class_level: int | None = None
    columns: tuple[Column, ...] = field(default=_COLUMNS, init=False)
    labels: tuple[str, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.class_level is not None and self.class_level < 1:
            raise ConfigError(f"source.class_level must be at least 1, got {self.class_level}")
        root = existing(self.path)
        if not root.is_dir():
            raise DataError(f"source.path={self.path} is a file, expected a folder of images")
        self._root = root

    @cached_property
    def _listing(self) -> "_Listing":
        listing = _listed(self._root)
        if not listing.images:
            suffixes = " ".join(sorted(IMAGE_SUFFIXES))
            raise DataError(
                f"source.path={self.path} holds no image at any depth (looked for {suffixes},"
                f" saw {listing.num_ignored} other files)"
            )
        return listing

    def blocks(self) -> list[Block]:
        """The files in the order of their names, some hundred to a block; see Source."""
        blocks: list[Block] = []
        entries: list[_File] = []
        room = _BLOCK_BYTES
        for name, num_bytes in self._listing.images.items():
            if entries and (len(entries) == _BLOCK_FILES or room < num_bytes):
                blocks.append(ImageFiles(str(self._root), tuple(entries)))
                entries, room = [], _BLOCK_BYTES
            entries.append(self._placed(name))
            room -= num_bytes
        return [*blocks, ImageFiles(str(self._root), tuple(entries))]

    def _placed(self, name: str) -> _File:
        split, label = self._place(PurePosixPath(name).parts[:-1])
        return _File(name, split, label)

    def _place(self, folders: tuple[str, ...]) -> tuple[str | None, str | None]:
        """The split and the class that the folders above a file name."""
        skipped, is_split = self._listing.top
        split = None
        if is_split and len(folders) > skipped:
            split = SPLIT_WORDS[folders[skipped].lower()]
            folders = folders[skipped + 1 :]
        level = len(folders) if self.class_level is None else self.class_level
        if not 1 <= level <= len(folders):
            return split, None
        return split, shown(folders[level - 1])

    def findings(self) -> list[Problem]:
        """Class folders without an image, and files that are not images; see Source."""
        listing = self._listing
        used = {self._placed(name).label for name in listing.images}
        problems = []
        for folder in listing.empty_folders:
            _, label = self._place(PurePosixPath(folder).parts)
            if label is not None and label not in used:
                detail = f"class folder {label!r} holds no image"
                problems.append(Problem("empty class", f"{shown(folder)}/", detail))
        if listing.ignored:
            suffixes = Counter(PurePosixPath(name).suffix or "none" for name in listing.ignored)
            kinds = ", ".join(f"{suffix} ({count})" for suffix, count in suffixes.most_common(8))
            detail = f"files left out, for their names are not those of images: {kinds}"
            problems.append(Problem("ignored file", shown(listing.ignored[0]), detail, WARNING))
        return problems


@dataclass(frozen=True)
class _Listing:
    """What lies below a root; names are relative to it.

    images: the size in bytes of each image file, sorted by name.
    empty_folders: folders without an image file and without folders in them.
    top: how many lone folders lead to where the content begins, and whether the folders there
        are splits.
    """

    images: dict[str, int]
    ignored: list[str]
    empty_folders: list[str]
    top: tuple[int, bool]

    @property
    def num_ignored(self) -> int:
        return len(self.ignored)


def _listed(root: Path) -> _Listing:
    images: dict[str, int] = {}
    ignored: list[str] = []
    empty: list[str] = []
    for folder, folders, names in _walk(root):
        pictures = [name for name in names if Path(name).suffix.lower() in IMAGE_SUFFIXES]
        prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
        images |= {f"{prefix}{name}": _size(folder / name) for name in pictures}
        ignored += [f"{prefix}{name}" for name in names if name not in set(pictures)]
        if not pictures and not folders and folder != root:
            empty.append(prefix.rstrip("/"))
    return _Listing(
        images=dict(sorted(images.items(), key=lambda item: (shown(item[0]), item[0]))),
        ignored=sorted(ignored),
        empty_folders=sorted(empty),
        top=_top(images),
    )


def _walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As os.walk, through links to folders too, but never around in a circle."""
    for folder, folders, names in os.walk(root, followlinks=True):
        here = os.path.realpath(folder)
        folders[:] = [
            name
            for name in sorted(folders)
            if _is_content(name) and not _is_above(os.path.realpath(Path(folder, name)), here)
        ]
        kept = [name for name in names if _is_content(name) and _is_readable(Path(folder, name))]
        yield Path(folder), folders, kept


def _is_content(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _is_readable(path: Path) -> bool:
    """Neither a pipe nor a device; a broken link is kept, to be reported when it is read."""
    return path.is_file() or not path.exists()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _is_above(folder: str, here: str) -> bool:
    return here == folder or here.startswith(folder.rstrip("/") + "/")


def _top(images: Iterable[str]) -> tuple[int, bool]:
    folders = [PurePosixPath(name).parts[:-1] for name in images]
    for level in range(min(map(len, folders), default=0)):
        names = {parts[level].lower() for parts in folders}
        if names <= SPLIT_WORDS.keys():
            return level, True
        if len(names) > 1:
            break
    return 0, False
