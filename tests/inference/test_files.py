import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from aiplat.errors import DataError
from aiplat.inference.files import file_rows
from aiplat.tasks.fields import InputField
from tests.inference.conftest import MakeImage

IMAGE = (InputField("image", "image"),)
PAIR = (InputField("image", "image", required=False), InputField("text", "text", required=False))
TABLE = (
    InputField("width", "number", required=False),
    InputField("kind", "category", required=False),
)


def read(path: Path, inputs: tuple[InputField, ...]) -> pa.Table:
    # They are sent to other processes.
    blocks = pickle.loads(pickle.dumps(file_rows(str(path), inputs)))  # noqa: S301
    return pa.concat_tables([block.read() for block in blocks])


def test_images_are_found_at_any_depth_and_need_no_class(tmp_path: Path, image: MakeImage) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "top.png").write_bytes(image("red"))
    (tmp_path / "deep" / "er" / "ä b.png").write_bytes(image("blue"))
    table = read(tmp_path, IMAGE)
    assert table["origin"].to_pylist() == ["deep/er/ä b.png", "top.png"]
    assert table["error"].to_pylist() == [None, None]
    found: list[Any] = table["image"].to_pylist()
    assert [value["bytes"] for value in found] == [image("blue"), image("red")]


def test_an_input_that_may_be_missing_is_null(tmp_path: Path, image: MakeImage) -> None:
    (tmp_path / "a.png").write_bytes(image("red"))
    assert read(tmp_path, PAIR)["text"].to_pylist() == [None]


def test_an_input_that_must_be_there_is_named(tmp_path: Path, image: MakeImage) -> None:
    (tmp_path / "a.png").write_bytes(image("red"))
    with pytest.raises(DataError, match=r"input\.path=.* has no text, which the model needs"):
        file_rows(str(tmp_path), (*IMAGE, InputField("text", "text")))


def test_lines_of_json_name_images_beside_them(tmp_path: Path, image: MakeImage) -> None:
    (tmp_path / "a.png").write_bytes(image("red"))
    lines = [
        {"image": "a.png", "question": "what?"},
        {"image": "b.png", "question": "where?"},
        {"question": "why?"},
    ]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, lines)))
    table = read(tmp_path / "rows.jsonl", PAIR)
    assert table["text"].to_pylist() == ["what?", "where?", "why?"]
    assert table["origin"].to_pylist() == [f"rows.jsonl:{row}" for row in (1, 2, 3)]
    errors: list[Any] = table["error"].to_pylist()
    good, missing, without = errors
    assert (good, without) == (None, None)
    assert "missing file" in missing


def test_a_table_gives_the_columns_of_the_models_names(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("kind,width,other\nround,3,x\n,,y\n")
    table = read(tmp_path / "rows.csv", TABLE)
    assert table["width"].to_pylist() == [3.0, None]
    assert table["kind"].to_pylist() == ["round", None]
    assert "other" not in table.column_names


@pytest.mark.parametrize("name", ["notes.txt", "photos.tar.zst"])
def test_what_cannot_be_read_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("x")
    for path in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=r"nothing to answer \(expected a folder of images"):
            file_rows(str(path), IMAGE)


def test_a_path_that_does_not_exist_is_named_by_its_key(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"input\.path=.*nowhere does not exist"):
        file_rows(str(tmp_path / "nowhere"), IMAGE)
