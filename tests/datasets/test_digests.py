import pyarrow as pa

from aiplat.datasets.digests import row_digests, version_hash
from aiplat.datasets.versions import IMAGE_TYPE, Column

TEXTS = (Column("one", "text"), Column("two", "text"))
PAIRS = (Column("image", "image"), Column("text", "text"), Column("label", "label"))


def pairs(*rows: tuple[bytes | None, str]) -> pa.Table:
    images = [None if data is None else {"bytes": data, "path": text} for data, text in rows]
    return pa.table({"image": pa.array(images, IMAGE_TYPE), "text": [text for _, text in rows]})


def test_values_do_not_run_into_each_other_and_missing_is_not_empty() -> None:
    table = pa.table({"one": ["ab", "a", "", None], "two": ["c", "bc", "x", "x"]})
    assert len(set(row_digests(table, TEXTS, [None] * 4).content)) == 4


def test_content_leaves_the_label_and_the_file_name_out() -> None:
    table = pa.table(
        {
            "image": pa.array(
                [{"bytes": b"1", "path": "a.png"}, {"bytes": b"1", "path": "b.png"}], IMAGE_TYPE
            ),
            "text": ["t", "t"],
        }
    )
    digests = row_digests(table, PAIRS, ["cat", "dog"])
    assert digests.content[0] == digests.content[1]
    assert digests.row[0] != digests.row[1]


def test_rows_that_share_an_image_are_one_group_and_others_are_their_own() -> None:
    digests = row_digests(
        pairs((b"1", "a"), (b"1", "b"), (None, "a"), (None, "b")), PAIRS, [None] * 4
    )
    assert digests.group[0] == digests.group[1]
    assert len(set(digests.group)) == 3


def test_a_version_depends_on_columns_labels_splits_and_the_order_of_rows() -> None:
    a, b = b"a" * 32, b"b" * 32
    hashes = {
        version_hash(TEXTS, ("x", "y"), {"train": a + b}),
        version_hash(TEXTS, ("x", "y"), {"train": b + a}),
        version_hash(TEXTS, ("x", "y"), {"train": a, "val": b}),
        version_hash(TEXTS, ("y", "x"), {"train": a + b}),
        version_hash(TEXTS[:1], ("x", "y"), {"train": a + b}),
    }
    assert len(hashes) == 5
    assert {len(name) for name in hashes} == {16}


def test_the_name_of_a_version_is_the_same_in_every_release() -> None:
    digests = row_digests(pairs((b"1", "a")), PAIRS, ["cat"])
    name = version_hash(PAIRS, ("cat",), {"train": digests.row[0]})
    assert name == "57520f230e073bd3"
