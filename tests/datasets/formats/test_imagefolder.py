import os
from pathlib import Path

import pytest

from aiplat.datasets.formats.imagefolder import ImageFolder
from aiplat.datasets.source import Rows
from aiplat.errors import ConfigError, DataError
from tests.datasets.pictures import found, picture, put, put_pictures


def read(source: ImageFolder) -> list[tuple[str, str | None, str | None]]:
    """Origin, split and class of every row."""
    listed = []
    for block in source.blocks():
        rows = block.read()
        listed += list(zip(rows.origins, rows.splits, labels(rows), strict=True))
    return listed


def labels(rows: Rows) -> list[str | None]:
    names: list[str | None] = rows.table.column("label").to_pylist()
    return names


def test_the_class_is_the_folder_above_at_any_depth(tmp_path: Path) -> None:
    for name in ["a/b/c/cat/1.jpg", "a/über maß/2 (x).JPEG", "dog/3.webp"]:
        put(tmp_path, name, picture(1))
    assert read(ImageFolder(str(tmp_path))) == [
        ("a/b/c/cat/1.jpg", None, "cat"),
        ("a/über maß/2 (x).JPEG", None, "über maß"),
        ("dog/3.webp", None, "dog"),
    ]


def test_the_class_can_be_a_level_below_the_root(tmp_path: Path) -> None:
    for name in ["cat/day/1.png", "dog/2.png", "3.png"]:
        put(tmp_path, name, picture(1))
    assert read(ImageFolder(str(tmp_path), class_level=1)) == [
        ("3.png", None, None),
        ("cat/day/1.png", None, "cat"),
        ("dog/2.png", None, "dog"),
    ]
    below = [label for _, _, label in read(ImageFolder(str(tmp_path), class_level=2))]
    assert below == [None, "day", None]


def test_an_image_that_no_folder_names_is_a_fault(tmp_path: Path) -> None:
    put(tmp_path, "stray.png", picture(1))
    (faults,) = ImageFolder(str(tmp_path)).blocks()[0].read().faults
    assert [fault.kind for fault in faults] == ["missing label"]


@pytest.mark.parametrize("root", ["", "download/photos 2024"])
def test_folders_called_as_splits_are_the_splits(tmp_path: Path, root: str) -> None:
    for name in ["Train/cat/1.png", "validation/a/cat/1.png", "test/cat/1.png"]:
        put(tmp_path / root, name, picture(1))
    assert [(split, label) for _, split, label in read(ImageFolder(str(tmp_path)))] == [
        ("train", "cat"),
        ("test", "cat"),
        ("val", "cat"),
    ]
    assert {label for _, _, label in read(ImageFolder(str(tmp_path), class_level=1))} == {
        "cat",
        "a",
    }


def test_a_class_called_test_beside_other_classes_is_a_class(tmp_path: Path) -> None:
    put_pictures(tmp_path, ["test", "train", "bus"], each=1)
    assert [(split, label) for _, split, label in read(ImageFolder(str(tmp_path)))] == [
        (None, "bus"),
        (None, "test"),
        (None, "train"),
    ]


def test_empty_class_folders_and_other_files_are_found(tmp_path: Path) -> None:
    put_pictures(tmp_path / "train", ["cat", "dog"], each=1)
    put(tmp_path, "train/notes.txt", b"x")
    put(tmp_path, "train/cow/movie.mov", b"x")
    put(tmp_path, "train/.DS_Store", b"x")
    put(tmp_path, "__MACOSX/train/cat/._1.png", b"x")
    (tmp_path / "train/a/bird").mkdir(parents=True)
    (tmp_path / "test/dog").mkdir(parents=True)
    problems = ImageFolder(str(tmp_path)).findings()
    assert found(problems) == {
        ("empty class", "train/cow/"),
        ("empty class", "train/a/bird/"),
        ("ignored file", "train/cow/movie.mov"),
    }
    (ignored,) = [problem for problem in problems if problem.kind == "ignored file"]
    assert ".mov (1)" in ignored.detail
    assert ".txt (1)" in ignored.detail
    assert ignored.severity == "warning"


def test_rows_are_read_in_any_choice_and_order(tmp_path: Path) -> None:
    put_pictures(tmp_path, ["cat"], each=5)
    (block,) = ImageFolder(str(tmp_path)).blocks()
    assert block.read([3, 0]).origins == ["cat/3.png", "cat/0.png"]


def test_blocks_are_bounded_by_files_and_bytes(tmp_path: Path) -> None:
    for index in range(300):
        put(tmp_path, f"cat/{index:03}.png", b"x")
    for index in range(3):
        put(tmp_path, f"dog/{index}.png", b"x" * (20 << 20))
    sizes = [block.read().table.num_rows for block in ImageFolder(str(tmp_path)).blocks()]
    assert sizes == [256, 45, 1, 1]


def test_names_that_are_not_utf8_are_shown_and_read(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 - such a name is bytes
    Path(os.fsdecode(folder), "1.png").write_bytes(picture(1))
    rows = ImageFolder(str(tmp_path)).blocks()[0].read()
    assert (rows.origins, labels(rows), rows.faults) == (["caf�/1.png"], ["caf�"], [()])


def test_composed_and_decomposed_letters_are_one_class(tmp_path: Path) -> None:
    put(tmp_path, "a/caf\u00e9/1.png", picture(1))
    put(tmp_path, "b/cafe\u0301/2.png", picture(2))
    assert {label for _, _, label in read(ImageFolder(str(tmp_path)))} == {"caf\u00e9"}


def test_links_are_followed_but_not_in_circles_and_broken_ones_are_faults(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", picture(1))
    root = tmp_path / "photos"
    put(root, "cat/2.png", picture(2))
    (root / "dog").symlink_to(tmp_path / "elsewhere")
    (root / "cat/loop").symlink_to(root)
    (root / "cat/broken.png").symlink_to(tmp_path / "nowhere.png")
    (block,) = ImageFolder(str(root)).blocks()
    rows = block.read()
    assert rows.origins == ["cat/2.png", "cat/broken.png", "dog/1.png"]
    assert [fault.kind for faults in rows.faults for fault in faults] == ["unreadable file"]


def test_what_cannot_be_a_folder_of_images_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"source\.path=.*gone does not exist"):
        ImageFolder(str(tmp_path / "gone"))
    put(tmp_path, "a/notes.txt", b"x")
    with pytest.raises(DataError, match=r"no image at any depth .*\.jpg .*saw 1 other"):
        ImageFolder(str(tmp_path)).blocks()
    with pytest.raises(DataError, match="is a file"):
        ImageFolder(str(tmp_path / "a/notes.txt"))
    with pytest.raises(DataError, match="is remote"):
        ImageFolder("s3://bucket/photos")
    with pytest.raises(ConfigError, match=r"source\.class_level"):
        ImageFolder(str(tmp_path), class_level=0)
