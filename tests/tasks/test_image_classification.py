"""Which label an image has: learned from images, and only where labels say so."""

from pathlib import Path

import pytest
from torch import Tensor, nn

from aiplat.datasets.synthetic import SyntheticSet, captioned_shapes
from aiplat.datasets.versions import Column
from aiplat.errors import DataError
from aiplat.models.towers import ConvTower
from aiplat.tasks.rows import rows_of
from tests.tasks.sets import IMAGE, LABEL, learn, task_for

MODEL = {"_target_": f"{__name__}.Small"}
TASK = {
    "_target_": "aiplat.tasks.image_classification.ImageClassification",
    "image": IMAGE,
    "label": LABEL,
}


class Small(nn.Module):
    """A few convolutions."""

    image_size = 16

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.tower = ConvTower((8, 16), num_classes)

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.tower(image)
        return scores


def colors(num_rows: int) -> SyntheticSet:
    """Images labelled by their colour alone."""
    made = captioned_shapes(num_rows, size=16)
    labels = tuple(sorted({name.split()[1] for name in made.labels}))
    captions = made.table.column("text").to_pylist()
    indices = [labels.index(str(caption).split()[1]) for caption in captions]
    table = made.table.drop_columns(["text", "label"]).append_column("label", [indices])
    return SyntheticSet((Column("image", "image"), Column("label", "label")), labels, table)


@pytest.mark.parametrize("shuffled", [False, True])
def test_a_network_learns_colours_but_not_shuffled_ones(tmp_path: Path, shuffled: bool) -> None:
    made = colors(144)
    found = learn(task_for(made, MODEL, TASK, tmp_path), made, 48, 8, shuffled)
    assert (found["accuracy"] > 0.8) != shuffled


def test_the_target_is_left_out_where_rows_have_none(tmp_path: Path) -> None:
    made = colors(2)
    task = task_for(made, MODEL, TASK, tmp_path)
    assert task.columns == ("image", "label")
    assert set(task.encode(rows_of(made.table))) == {"image", "label"}
    assert set(task.encode({"image": rows_of(made.table)["image"]})) == {"image"}


def test_a_row_without_an_image_is_named(tmp_path: Path) -> None:
    made = colors(2)
    task = task_for(made, MODEL, TASK, tmp_path)
    images = rows_of(made.table)["image"]
    with pytest.raises(DataError, match="column 'image', row 1: the value is missing"):
        task.encode({"image": [images[0], None]})
    with pytest.raises(DataError, match="no column 'image'"):
        task.encode({"label": [0, 1]})
