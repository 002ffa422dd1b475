from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aiplat.registry.confusion import Confusion, draw_confusion


@pytest.fixture
def confusion() -> Confusion:
    return Confusion(
        ("a", "b", "c", "never"), np.array([[9, 1, 0, 0], [4, 5, 1, 0], [0, 0, 7, 0], [0] * 4])
    )


def test_recalls_are_shares_of_the_true_class(confusion: Confusion) -> None:
    assert confusion.recalls() == {"a": 0.9, "b": 0.5, "c": 1.0}


def test_the_weakest_classes_come_first_and_perfect_ones_not_at_all(confusion: Confusion) -> None:
    assert confusion.weakest(5) == [("b", 0.5), ("a", 0.9)]
    assert confusion.weakest(1) == [("b", 0.5)]


def test_the_most_frequent_errors_come_first(confusion: Confusion) -> None:
    assert confusion.pairs(2) == [("b", "a", 4), ("a", "b", 1)]
    assert len(confusion.pairs(10)) == 3


def test_counts_must_fit_the_labels() -> None:
    with pytest.raises(ValueError, match="2 labels"):
        Confusion(("a", "b"), np.zeros((3, 3)))


def test_odd_labels_are_drawn_without_a_warning(tmp_path: Path) -> None:
    labels = (
        "$x^$",
        "日本語",
        "a very long label that would take all of the picture's room",
        "a\nb",
    )
    assert draw_confusion(Confusion(labels, np.eye(4, dtype=int) * 3), "$t_$", tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        width, height = picture.size
    assert 300 < width < 1500
    assert 300 < height < 1500


def test_the_diagonal_of_a_perfect_model_is_dark_and_the_rest_light(tmp_path: Path) -> None:
    labels = tuple(f"class {index}" for index in range(20))
    draw_confusion(Confusion(labels, np.eye(20, dtype=int)), "perfect", tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    dark_blue = (pixels[..., 2] - pixels[..., 0] > 60) & (pixels[..., 0] < 40)
    rows, columns = np.nonzero(dark_blue[:, : int(pixels.shape[1] * 0.75)])
    assert np.corrcoef(rows, columns)[0, 1] > 0.99


def test_too_many_classes_make_no_picture(tmp_path: Path) -> None:
    labels = tuple(map(str, range(31)))
    assert not draw_confusion(Confusion(labels, np.eye(31)), "many", tmp_path / "c.png")
    assert not (tmp_path / "c.png").exists()
