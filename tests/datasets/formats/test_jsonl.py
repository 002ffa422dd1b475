import json
from pathlib import Path
from typing import Any

import pytest

from aiplat.datasets.formats.jsonl import Jsonl
from aiplat.errors import ConfigError, DataError
from tests.datasets.pictures import picture, put, rows_in


def lines(tmp_path: Path, *records: Any, name: str = "pairs.jsonl") -> str:
    text = "\n".join(r if isinstance(r, str) else json.dumps(r) for r in records)
    put(tmp_path, name, text.encode())
    return str(tmp_path / name)


def faults(source: Jsonl) -> dict[str, list[str]]:
    """The kinds of faults of each row that has any, by origin."""
    listed = {}
    for block in source.blocks():
        rows = block.read()
        for origin, found in zip(rows.origins, rows.faults, strict=True):
            if found:
                listed[origin] = [fault.kind for fault in found]
    return listed


def test_image_text_pairs_are_found_by_their_usual_names(tmp_path: Path) -> None:
    put(tmp_path, "images/a b.png", picture(1))
    path = lines(tmp_path, {"img": "images/a b.png", "caption": "a cat", "answer": "yes", "id": 7})
    source = Jsonl(path=path)
    assert [(column.name, column.kind) for column in source.columns] == [
        ("image", "image"),
        ("text", "text"),
        ("label", "label"),
    ]
    image = {"bytes": picture(1), "path": "images/a b.png"}
    assert rows_in(source) == [{"image": image, "text": "a cat", "label": "yes"}]
    assert [problem.kind for problem in source.findings()] == ["field left out"]


def test_fields_can_be_named(tmp_path: Path) -> None:
    put(tmp_path, "elsewhere/1.png", picture(1))
    record = {"photo": "1.png", "q": "what?", "hint": "an animal", "a": 3, "age": "4", "z": True}
    path = lines(tmp_path, record)
    source = Jsonl(
        path=path,
        image="photo",
        text=("q", "hint"),
        label="a",
        fields={"age": "number", "z": "category"},
        image_root=str(tmp_path / "elsewhere"),
    )
    (row,) = rows_in(source)
    assert row == {
        "image": {"bytes": picture(1), "path": "1.png"},
        "q": "what?",
        "hint": "an animal",
        "age": 4.0,
        "z": "true",
        "label": "3",
    }


def test_every_bad_row_is_a_fault_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, "1.png", picture(1))
    good = {"image": "1.png", "text": "t", "label": "a"}
    path = lines(
        tmp_path,
        good,
        '{"image": "1.png", "text": ',
        "",
        [1, 2],
        {**good, "image": "gone.png"},
        {**good, "text": 5},
        {"image": "1.png", "label": "a"},
        {**good, "label": None},
        {**good, "text": None},
        {**good, "label": {"a": 1}, "image": 3},
        {**good, "image": "../../etc/passwd"},
        '{"image": "1.png", "text": "\\ud800", "label": "a"}',
        good,
    )
    assert faults(Jsonl(path=path)) == {
        "pairs.jsonl:2": ["bad row"],
        "pairs.jsonl:4": ["bad row"],
        "pairs.jsonl:5": ["missing file"],
        "pairs.jsonl:6": ["wrong type"],
        "pairs.jsonl:7": ["missing column"],
        "pairs.jsonl:8": ["missing label"],
        "pairs.jsonl:9": ["missing value"],
        "pairs.jsonl:10": ["wrong type", "wrong type"],
        "pairs.jsonl:11": ["missing file"],
        "pairs.jsonl:12": ["wrong encoding"],
    }


def test_a_row_may_lack_its_image_or_its_text_where_that_is_allowed(tmp_path: Path) -> None:
    put(tmp_path, "1.png", picture(1))
    path = lines(
        tmp_path,
        {"image": "1.png", "text": "t", "label": "a"},
        {"image": None, "text": "t", "label": "a"},
        {"image": "1.png", "label": "a"},
        {"label": "a"},
    )
    source = Jsonl(path=path, allow_missing=True)
    assert faults(source) == {"pairs.jsonl:4": ["missing value"]}
    assert [row["image"] is None for row in rows_in(source)] == [False, True, False, True]


def test_a_split_field_names_the_split_of_its_row(tmp_path: Path) -> None:
    path = lines(
        tmp_path,
        *(
            {"text": "t", "label": "a", "split": split}
            for split in ("train", "valid", "test", None)
        ),
    )
    (block,) = Jsonl(path=path).blocks()
    assert block.read().splits == ["train", "val", "test", None]
    wrong = lines(tmp_path, {"text": "t", "label": "a", "part": "holdout"})
    assert faults(Jsonl(path=wrong, split="part")) == {"pairs.jsonl:1": ["unknown split"]}


def test_files_called_as_splits_are_the_splits(tmp_path: Path) -> None:
    row = {"text": "t", "label": "a"}
    for name in ["train-0.jsonl", "train-1.jsonl", "valid.jsonl", "test/part.ndjson"]:
        lines(tmp_path, row, name=name)
    read = [block.read() for block in Jsonl(path=str(tmp_path)).blocks()]
    assert [(rows.origins, rows.splits) for rows in read] == [
        (["test/part.ndjson:1"], ["test"]),
        (["train-0.jsonl:1"], ["train"]),
        (["train-1.jsonl:1"], ["train"]),
        (["valid.jsonl:1"], ["val"]),
    ]


def test_blocks_hold_every_line_once_and_read_any_choice(tmp_path: Path) -> None:
    path = lines(tmp_path, *({"text": f"text {n}", "label": "a"} for n in range(10_000)))
    blocks = Jsonl(path=path).blocks()
    assert len(blocks) == 3
    origins = [origin for block in blocks for origin in block.read().origins]
    assert origins == [f"pairs.jsonl:{n}" for n in range(1, 10_001)]
    chosen = blocks[1].read([5, 2])
    assert chosen.origins == ["pairs.jsonl:4102", "pairs.jsonl:4099"]
    assert chosen.table.column("text").to_pylist() == ["text 4101", "text 4098"]


def test_rows_that_name_images_are_few_to_a_block(tmp_path: Path) -> None:
    put(tmp_path, "1.png", picture(1))
    path = lines(tmp_path, *({"image": "1.png", "label": "a"} for _ in range(600)))
    assert [len(block.read().origins) for block in Jsonl(path=path).blocks()] == [256, 256, 88]


def test_what_cannot_be_found_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = lines(tmp_path, {"text": "t", "klass": "a"})
    with pytest.raises(DataError, match=r"usual name of a label .*text, klass.* source\.label"):
        _ = Jsonl(path=path).columns
    with pytest.raises(DataError, match=r"pairs\.jsonl has no field 'cap' .*set source\.text"):
        _ = Jsonl(path=path, text="cap", label=None).columns
    with pytest.raises(DataError, match="no field to learn from"):
        _ = Jsonl(path=path, text=None, label="klass").columns
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.jsonl \.ndjson file"):
        Jsonl(path=str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match=r"source\.fields\.klass must be one of"):
        Jsonl(path=path, fields={"klass": "klassy"})
    with pytest.raises(ConfigError, match=r"source\.fields must be auto"):
        Jsonl(path=path, fields="all")
