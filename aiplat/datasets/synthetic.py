"""Small made-up datasets whose right answers are known, and a writer for them without a cluster.

They are for tests and trials: each is decidable by the inputs its name says, and by nothing less.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw

from aiplat.datasets import catalog, shards, statistics
from aiplat.datasets.digests import row_digests, version_hash
from aiplat.datasets.versions import (
    IMAGE_TYPE,
    MANIFEST,
    ROW_ID,
    SPLITS,
    Column,
    DatasetInfo,
    DatasetVersion,
    Shard,
    folder,
)
from aiplat.store import files

SHAPES = ("circle", "square", "triangle")
COLORS = {"blue": (30, 60, 220), "green": (20, 160, 60), "red": (220, 30, 40)}
_SHARD_BYTES = 1 << 20


@dataclass(frozen=True)
class SyntheticSet:
    """Rows in the layout of a version, without row ids."""

    columns: tuple[Column, ...]
    labels: tuple[str, ...]
    table: pa.Table

    def write(self, storage: str, name: str, num_val: int, num_test: int) -> DatasetVersion:
        """Store it as a dataset version: the last rows are the test split, those before val."""
        num_train = self.table.num_rows - num_val - num_test
        splits = {
            "train": self.table.slice(0, num_train),
            "val": self.table.slice(num_train, num_val),
            "test": self.table.slice(num_train + num_val),
        }
        return write_version(storage, name, splits, self.columns, self.labels)


def shape_image(shape: str, color: str, random: np.random.Generator, size: int = 32) -> bytes:
    """A PNG of one shape, `size` pixels wide and high, at a random place and scale."""
    image = Image.new("RGB", (size, size), (240, 240, 240))
    half = int(random.integers(size // 6, size // 3))
    x, y = (int(value) for value in random.integers(half, size - half, size=2))
    draw = ImageDraw.Draw(image)
    corners = {
        "circle": lambda: draw.ellipse((x - half, y - half, x + half, y + half), COLORS[color]),
        "square": lambda: draw.rectangle((x - half, y - half, x + half, y + half), COLORS[color]),
        "triangle": lambda: draw.polygon(
            [(x, y - half), (x - half, y + half), (x + half, y + half)], COLORS[color]
        ),
    }
    corners[shape]()
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()


def _draw(
    num_rows: int, random: np.random.Generator, size: int
) -> tuple[list[tuple[str, str]], "pa.Array[Any]"]:
    """Pairs of shape and colour, and the column of their images."""
    shapes = random.choice(SHAPES, num_rows).tolist()
    colors = random.choice(list(COLORS), num_rows).tolist()
    images = [
        {"bytes": shape_image(shape, color, random, size), "path": f"{index}.png"}
        for index, (shape, color) in enumerate(zip(shapes, colors, strict=True))
    ]
    return list(zip(shapes, colors, strict=True)), pa.array(images, IMAGE_TYPE)


def _labelled(answers: Sequence[str], labels: Sequence[str]) -> "pa.Array[Any]":
    return pa.array([labels.index(answer) for answer in answers], pa.int64())


def captioned_shapes(num_rows: int = 96, seed: int = 0, size: int = 32) -> SyntheticSet:
    """Images of one shape with their caption; the class is the caption, so zero-shot can score."""
    pairs, images = _draw(num_rows, np.random.default_rng(seed), size)
    captions = [f"a {color} {shape}" for shape, color in pairs]
    labels = tuple(f"a {color} {shape}" for color in COLORS for shape in SHAPES)
    return SyntheticSet(
        columns=(Column("image", "image"), Column("text", "text"), Column("label", "label")),
        labels=labels,
        table=pa.table({"image": images, "text": captions, "label": _labelled(captions, labels)}),
    )


def shape_questions(num_rows: int = 96, seed: int = 0, size: int = 32) -> SyntheticSet:
    """Images, a question about shape or colour, and its answer: neither input alone decides it."""
    random = np.random.default_rng(seed)
    pairs, images = _draw(num_rows, random, size)
    asks_shape = random.random(num_rows) < 0.5
    texts = ["what shape is it?" if shape else "what color is it?" for shape in asks_shape]
    answers = [pair[0] if shape else pair[1] for pair, shape in zip(pairs, asks_shape, strict=True)]
    labels = tuple(sorted((*SHAPES, *COLORS)))
    return SyntheticSet(
        columns=(Column("image", "image"), Column("text", "text"), Column("label", "label")),
        labels=labels,
        table=pa.table({"image": images, "text": texts, "label": _labelled(answers, labels)}),
    )


def short_reviews(num_rows: int = 96, seed: int = 0) -> SyntheticSet:
    """Texts of a few words, one of which decides the class."""
    random = np.random.default_rng(seed)
    words = {"good": ["great", "tasty", "lovely"], "bad": ["awful", "stale", "bitter"]}
    things = ["coffee", "tea", "bread", "soup", "cheese"]
    answers = random.choice(list(words), num_rows).tolist()
    texts = [
        f"this {random.choice(things)} is {random.choice(words[answer])} number {index}"
        for index, answer in enumerate(answers)
    ]
    labels = ("bad", "good")
    return SyntheticSet(
        columns=(Column("text", "text"), Column("label", "label")),
        labels=labels,
        table=pa.table({"text": texts, "label": _labelled(answers, labels)}),
    )


def separable_table(num_rows: int = 200, seed: int = 0) -> SyntheticSet:
    """Two numbers and a category; `yes` where the numbers, flipped by the category, are positive.

    Every tenth value of `height` and of `kind` is missing; the class is decidable without them
    only in part.
    """
    random = np.random.default_rng(seed)
    width, height = random.normal(size=(2, num_rows))
    flipped = random.random(num_rows) < 0.3
    positive = np.where(flipped, -1, 1) * (width + 0.5 * height) > 0
    holes = np.arange(num_rows) % 10 == 9
    kinds = ["flipped" if flip else "straight" for flip in flipped]
    labels = ("no", "yes")
    table = pa.table(
        {
            "width": width * 10 + 100,
            "height": pa.array(height, mask=holes),
            "kind": pa.array(kinds, mask=np.roll(holes, 3)),
            "label": pa.array(positive.astype(np.int64)),
        }
    )
    columns = (
        Column("width", "number"),
        Column("height", "number"),
        Column("kind", "category"),
        Column("label", "label"),
    )
    return SyntheticSet(columns=columns, labels=labels, table=table)


def write_version(
    storage: str,
    name: str,
    splits: Mapping[str, pa.Table],
    columns: Sequence[Column],
    labels: Sequence[str],
) -> DatasetVersion:
    """Store finished rows (labels as class indices, no row ids) as the latest version of `name`."""
    kept = {split: splits[split] for split in SPLITS if split in splits and splits[split].num_rows}
    measured = statistics.measure(kept["train"], columns)
    info = DatasetInfo(statistics.described(columns, measured), tuple(labels))
    version = version_hash(
        columns, labels, {split: _joined(table, info) for split, table in kept.items()}
    )
    uri = files.join(folder(storage, name), version)
    if not files.exists(files.join(uri, MANIFEST)):
        with files.draft_folder(uri, MANIFEST) as draft:
            written = _write_splits(draft, kept, info)
            dataset = DatasetVersion(name, version, uri, info, written)
            files.write_json(files.join(draft, MANIFEST), dataset.to_json())
    catalog.set_latest(storage, name, version)
    return catalog.find_version(storage, name, version)


def _joined(table: pa.Table, info: DatasetInfo) -> bytes:
    classes = info.of_kind("label")
    names: list[str | None] = [None] * table.num_rows
    if classes:
        indices: list[Any] = table.column(classes[0].name).to_pylist()
        names = [info.labels[index] for index in indices]
    return b"".join(row_digests(table, info.columns, names).row)


def _write_splits(
    draft: str, splits: Mapping[str, pa.Table], info: DatasetInfo
) -> dict[str, tuple[Shard, ...]]:
    schema = shards.arrow_schema(info.columns, info.labels)
    first, written = 0, {}
    for split, table in splits.items():
        ids = pa.array(np.arange(first, first + table.num_rows))
        whole = table.select(schema.names[1:]).add_column(0, ROW_ID, ids).cast(schema)
        first += table.num_rows
        row_bytes = np.full(table.num_rows, max(1, table.nbytes // table.num_rows))
        written[split] = tuple(
            shards.write_shard(
                draft, shards.shard_name(split, index), whole.slice(start, stop - start)
            )
            for index, (start, stop) in enumerate(shards.cut(row_bytes, _SHARD_BYTES))
        )
    return written
