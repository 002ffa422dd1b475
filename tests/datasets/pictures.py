"""Image files and folders of them for tests, and what became of them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from aiplat.datasets.source import Problem, Source
from aiplat.datasets.versions import DatasetVersion


def picture(seed: int, file_format: str = "PNG") -> bytes:
    """A picture that no other seed has."""
    pixels = np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format=file_format)
    return data.getvalue()


def put(root: Path, name: str, data: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def put_pictures(root: Path, folders: list[str], each: int) -> None:
    """`each` different pictures in every folder."""
    for number, folder in enumerate(folders):
        for index in range(each):
            put(root, f"{folder}/{index}.png", picture(1000 * number + index))


def found(problems: list[Problem]) -> set[tuple[str, str]]:
    """What is wrong and where."""
    return {(problem.kind, problem.origin) for problem in problems}


def rows_of(version: DatasetVersion) -> dict[str, list[dict[str, object]]]:
    """All rows of a version by split, row ids included."""
    names = ["row_id", *(column.name for column in version.info.columns)]
    return {
        split: [row for table in version.read(split, names) for row in table.to_pylist()]
        for split in version.splits
    }


def rows_in(source: Source) -> list[dict[str, object]]:
    """All rows of a source as it reads them."""
    return [row for block in source.blocks() for row in block.read().table.to_pylist()]
