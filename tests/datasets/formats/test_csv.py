from pathlib import Path

import pytest

from aiplat.datasets.formats.csv import Csv
from aiplat.errors import DataError
from tests.datasets.pictures import found, picture, put, rows_in

TABLE = """id,age,city,salary,comment on the customer,label
1,41,Bern,12.5,a long comment that nobody would call a category,good
2,NA,Rom,,another long comment with a few words in it,bad
3,29,Rom,-1e3,and a third one, which is not quoted,good
"""


def kinds(source: Csv) -> dict[str, str]:
    return {column.name: column.kind for column in source.columns}


def test_a_table_is_read_by_the_type_of_its_cells(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", TABLE.replace("one, which", "one which").encode())
    source = Csv(path=str(tmp_path / "a.csv"))
    assert kinds(source) == {
        "text": "text",
        "age": "number",
        "city": "category",
        "salary": "number",
        "label": "label",
    }
    rows = rows_in(source)
    assert [(row["age"], row["salary"], row["city"]) for row in rows] == [
        (41.0, 12.5, "Bern"),
        (None, None, "Rom"),
        (29.0, -1000.0, "Rom"),
    ]
    (left_out,) = source.findings()
    assert "'id': its values just count the rows" in left_out.detail


def test_kinds_can_be_said(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"zip,age,kind\n8000,1,x\n9000,2,y\n")
    source = Csv(path=str(tmp_path), label="kind", fields={"zip": "category", "age": None})
    assert kinds(source) == {"zip": "category", "label": "label"}
    assert rows_in(source) == [{"zip": "8000", "label": "x"}, {"zip": "9000", "label": "y"}]


def test_rows_with_other_columns_or_types_are_faults_with_their_row(tmp_path: Path) -> None:
    good = "".join(f"{age},x\n" for age in range(5, 1005))
    put(tmp_path, "a.csv", f"age,label\n{good}forty,x\n1,2,x\n\n1,\ninf,x\n".encode())
    (block,) = Csv(path=str(tmp_path / "a.csv")).blocks()
    rows = block.read()
    bad = {
        origin: [fault.kind for fault in faults]
        for origin, faults in zip(rows.origins, rows.faults, strict=True)
        if faults
    }
    assert bad == {
        "a.csv:1002": ["wrong type"],
        "a.csv:1003": ["wrong columns"],
        "a.csv:1005": ["missing label"],
        "a.csv:1006": ["wrong type"],
    }


def test_a_file_of_a_folder_with_other_columns_is_left_out_and_named(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", b"age,label\n40,x\n")
    put(tmp_path, "b.csv", b"years,label\n41,x\n")
    put(tmp_path, "c.csv", b"label,age\nx,42\n")
    source = Csv(path=str(tmp_path), fields={"age": "number"})
    assert found(source.findings()) == {("wrong columns", "b.csv")}
    assert "no column 'age' (it has: years, label)" in source.findings()[0].detail
    assert [row["age"] for row in rows_in(source)] == [40.0, 42.0]


def test_quoted_cells_may_hold_delimiters_quotes_and_line_ends(tmp_path: Path) -> None:
    cells = ['"a, ""b"""', '"two\r\nlines"', 'in"side', '" "']
    body = "".join(f"{cell},x\r\n" for cell in cells * 3000)
    put(tmp_path, "a.csv", f"text,label\r\n{body}".encode())
    source = Csv(path=str(tmp_path / "a.csv"))
    texts = [row["text"] for row in rows_in(source)]
    assert texts == ['a, "b"', "two\r\nlines", 'in"side', " "] * 3000
    blocks = source.blocks()
    assert len(blocks) == 3
    assert blocks[1].read([4]).origins == ["a.csv:4102"]


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_the_delimiter_is_the_one_the_header_has_most_of(tmp_path: Path, delimiter: str) -> None:
    text = "age,in years;height;label\n1;2;x\n2;2;y\n".replace(";", delimiter)
    put(tmp_path, "a.csv", text.encode())
    assert kinds(Csv(path=str(tmp_path / "a.csv"))) == {
        "age,in years": "number",
        "height": "number",
        "label": "label",
    }


def test_a_byte_order_mark_and_other_encodings_are_read(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "\ufefftext,label\nGrüße,x\n".encode())
    assert rows_in(Csv(path=str(tmp_path / "a.csv"))) == [{"text": "Grüße", "label": "x"}]
    put(tmp_path, "b.csv", "text,größe,label\nGrüße,1,x\n".encode("latin-1"))
    path = str(tmp_path / "b.csv")
    (row,) = rows_in(Csv(path=path, encoding="latin-1"))
    assert row == {"text": "Grüße", "größe": 1.0, "label": "x"}
    (faults,) = Csv(path=path, fields=None).blocks()[0].read().faults
    assert [fault.kind for fault in faults] == ["wrong encoding"]


def test_paths_of_images_are_read_and_other_columns_left_out(tmp_path: Path) -> None:
    put(tmp_path, "img/1.png", picture(1))
    put(tmp_path, "a.csv", b"file_name,width,caption,label\nimg/1.png,16,a cat,cat\n")
    source = Csv(path=str(tmp_path / "a.csv"))
    assert kinds(source) == {"image": "image", "text": "text", "label": "label"}
    image = {"bytes": picture(1), "path": "img/1.png"}
    assert rows_in(source) == [{"image": image, "text": "a cat", "label": "cat"}]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "has no header row"),
        (b"a,a,label\n1,2,x\n", "names a column twice"),
        (b"age,label\n1,x\n2\r3,x\n", r"a\.csv:3: the row cannot be parsed"),
    ],
)
def test_files_that_are_no_csv_are_refused(tmp_path: Path, data: bytes, says: str) -> None:
    put(tmp_path, "a.csv", data)
    with pytest.raises(DataError, match=says):
        Csv(path=str(tmp_path / "a.csv")).blocks()
