import json
import random
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from aiplat.datasets import catalog, convert, synthetic
from aiplat.datasets.archives import unpacked
from aiplat.datasets.config import IngestOptions, SplitConfig
from aiplat.datasets.convert import Item, Result, ingest
from aiplat.datasets.formats.imagefolder import ImageFolder
from aiplat.datasets.formats.jsonl import Jsonl
from aiplat.datasets.formats.parquet import Parquet
from aiplat.datasets.versions import read_version
from aiplat.errors import ConfigError, DataError
from aiplat.store import files
from tests.datasets.pictures import picture, put, put_pictures, rows_of

FAIL, SKIP = IngestOptions(), IngestOptions("skip")


def messy_folder(root: Path) -> None:
    """Odd names at odd depths, a truncated JPEG, an empty class and a copy across splits."""
    put_pictures(root / "train/a/b/c", ["cat", "dög [x] y"], each=8)
    put_pictures(root / "test/deep", ["cat"], each=0)
    put(root, "test/deep/cat/same.png", picture(3))
    put(root, "test/dög [x] y/1 ü.png", picture(77))
    put(root, "train/a/b/c/cat/cut off.jpg", picture(5, "JPEG")[:400])
    (root / "train/a/b/c/no pictures").mkdir()


def report_of(storage: Path, name: str) -> dict[str, Any]:
    report: dict[str, Any] = files.read_json(f"{storage}/datasets/{name}/report.json")
    return report


def test_one_report_names_every_problem_and_nothing_is_made(tmp_path: Path) -> None:
    messy_folder(tmp_path / "photos")
    with pytest.raises(DataError) as error:
        ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "photos", FAIL)
    report = report_of(tmp_path, "photos")
    errors = {
        (problem["kind"], problem["origin"])
        for problem in report["problems"]
        if problem["severity"] == "error"
    }
    assert errors == {
        ("empty class", "train/a/b/c/no pictures/"),
        ("unreadable image", "train/a/b/c/cat/cut off.jpg"),
        ("duplicate across splits", "train/a/b/c/cat/3.png"),
    }
    assert report["version"] is None
    for _, origin in errors:
        assert origin in str(error.value)
    assert "test/deep/cat/same.png" in str(error.value)
    assert "report.json" in str(error.value)
    assert "on_error=skip" in str(error.value)
    assert catalog.list_versions(str(tmp_path), "photos") == []


def test_skip_makes_a_version_without_the_bad_rows(tmp_path: Path) -> None:
    messy_folder(tmp_path / "photos")
    result = ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "photos", SKIP)
    rows = rows_of(result.version)
    paths = {row["image"]["path"] for split in rows.values() for row in split}  # type: ignore[index]
    assert paths.isdisjoint({"train/a/b/c/cat/cut off.jpg", "train/a/b/c/cat/3.png"})
    assert {"test/deep/cat/same.png", "test/dög [x] y/1 ü.png"} <= paths
    assert result.version.info.labels == ("cat", "dög [x] y")
    assert result.version.num_skipped == 2
    assert result.report.num_seen == sum(map(len, rows.values())) + 2
    report = files.read_json(files.join(result.version.uri, "report.json"))
    assert report["num_skipped"] == 2
    assert report["problem_counts"]["unreadable image"] == 1


def test_a_jsonl_with_a_missing_file_is_reported_by_file_and_row(tmp_path: Path) -> None:
    put_pictures(tmp_path, ["images"], each=5)
    pairs = [
        {"image": f"images/{index}.png", "text": f"picture {index}", "label": "odd"}
        for index in range(6)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    source = Jsonl(path=str(tmp_path / "pairs.jsonl"))
    with pytest.raises(DataError, match=r"pairs.jsonl:6: missing file: .*images/5.png"):
        ingest(source, str(tmp_path), "pairs", FAIL)
    result = ingest(source, str(tmp_path), "pairs", SKIP)
    assert (result.report.num_seen, result.version.num_skipped) == (6, 1)


def test_the_same_bytes_are_the_same_version_wherever_they_lie(tmp_path: Path) -> None:
    put_pictures(tmp_path / "here", ["a", "b"], each=20)
    first = ingest(ImageFolder(str(tmp_path / "here")), str(tmp_path), "photos", FAIL)
    again = ingest(ImageFolder(str(tmp_path / "here")), str(tmp_path), "photos", FAIL)
    shutil.copytree(tmp_path / "here", tmp_path / "else where", copy_function=shutil.copyfile)
    moved = ingest(
        ImageFolder(str(tmp_path / "else where")),
        str(tmp_path / "other storage"),
        "renamed",
        IngestOptions(shard_bytes=1000),
    )
    assert (first.already_there, again.already_there, moved.already_there) == (False, True, False)
    assert again.version == first.version
    assert moved.version.version == first.version.version
    assert len(moved.version.shards("train")) > len(first.version.shards("train"))
    assert catalog.list_versions(str(tmp_path), "photos") == [first.version.version]


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_an_archive_is_the_same_version_as_its_folder(tmp_path: Path, suffix: str) -> None:
    put_pictures(tmp_path / "photos", ["über/a b", "c"], each=5)
    folder = ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "photos", FAIL)
    path = tmp_path / f"photos.{suffix}"
    members = sorted((tmp_path / "photos").rglob("*.png"), reverse=True)
    if suffix == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for member in members:
                archive.write(member, member.relative_to(tmp_path / "photos"))
    else:
        with tarfile.open(path, "w:gz") as archive:
            for member in members:
                archive.add(member, member.relative_to(tmp_path / "photos"))
    with unpacked({"path": str(path)}, str(tmp_path)) as source:
        result = ingest(ImageFolder(**source), str(tmp_path), "photos", FAIL)
    assert result.already_there
    assert result.version == folder.version
    assert list((tmp_path / "tmp").iterdir()) == []


def test_other_content_labels_or_splits_are_other_versions(tmp_path: Path) -> None:
    put_pictures(tmp_path / "photos", ["a", "b"], each=20)

    def version(options: IngestOptions = FAIL) -> str:
        source = ImageFolder(str(tmp_path / "photos"))
        return ingest(source, str(tmp_path), "photos", options).version.version

    versions = [version(), version(IngestOptions(split=SplitConfig(seed=1)))]
    (tmp_path / "photos/b").rename(tmp_path / "photos/c")
    versions.append(version())
    put(tmp_path, "photos/c/0.png", picture(5000))
    versions.append(version())
    assert len(set(versions)) == 4
    assert catalog.find_version(str(tmp_path), "photos").version == versions[-1]


@pytest.mark.parametrize("num_written", [0, 1])
def test_a_crash_half_way_leaves_no_half_version(tmp_path: Path, num_written: int) -> None:
    put_pictures(tmp_path / "photos", ["a", "b"], each=20)

    def crashing(
        stage: str, function: Callable[[Item], Result], items: Sequence[Item], /
    ) -> Iterator[tuple[int, Result]]:
        for index, item in enumerate(items):
            if stage == "write" and index == num_written:
                raise MemoryError("out of memory")
            yield index, function(item)

    source = ImageFolder(str(tmp_path / "photos"))
    with pytest.raises(MemoryError):
        ingest(source, str(tmp_path), "photos", FAIL, crashing)
    assert catalog.list_versions(str(tmp_path), "photos") == []
    assert list((tmp_path / "datasets/photos").iterdir()) == []
    assert not ingest(source, str(tmp_path), "photos", FAIL).already_there


def test_a_source_that_changes_between_the_passes_makes_no_version(tmp_path: Path) -> None:
    put_pictures(tmp_path / "photos", ["a", "b"], each=20)

    def meddling(
        stage: str, function: Callable[[Item], Result], items: Sequence[Item], /
    ) -> Iterator[tuple[int, Result]]:
        if stage == "write":
            put(tmp_path, "photos/a/7.png", picture(4321))
        return enumerate(map(function, items))

    with pytest.raises(DataError, match="changed while it was ingested"):
        ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "photos", FAIL, meddling)
    assert catalog.list_versions(str(tmp_path), "photos") == []


def test_the_order_in_which_a_runner_answers_does_not_matter(tmp_path: Path) -> None:
    data = synthetic.shape_questions(600)
    version = data.write(str(tmp_path / "made"), "shapes", num_val=100, num_test=100)

    def shuffled(
        _stage: str, function: Callable[[Item], Result], items: Sequence[Item], /
    ) -> Iterator[tuple[int, Result]]:
        results = list(enumerate(map(function, items)))
        random.Random(0).shuffle(results)
        return iter(results)

    options = IngestOptions("skip", shard_bytes=5000)
    source = Parquet(path=version.uri)
    plain = ingest(source, str(tmp_path / "one"), "shapes", options)
    other = ingest(source, str(tmp_path / "two"), "shapes", options, shuffled)
    assert other.version.version == plain.version.version
    assert other.version.splits == plain.version.splits


def test_a_version_reingested_from_its_own_shards_is_itself(tmp_path: Path) -> None:
    data = synthetic.separable_table(300)
    made = data.write(str(tmp_path / "made"), "table", num_val=30, num_test=30)
    result = ingest(Parquet(path=made.uri), str(tmp_path), "table", FAIL)
    assert result.version.version == made.version
    assert rows_of(result.version) == rows_of(made)


def test_rows_are_numbered_densely_split_by_split_in_the_order_of_the_source(
    tmp_path: Path,
) -> None:
    put_pictures(tmp_path / "photos", ["a", "b"], each=60)
    options = IngestOptions(split=SplitConfig(0.2, 0.2), shard_bytes=4000)
    version = ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "p", options).version
    rows = rows_of(version)
    ids = [row["row_id"] for split in ("train", "val", "test") for row in rows[split]]
    assert ids == list(range(120))
    for split in rows.values():
        names = [row["image"]["path"] for row in split]  # type: ignore[index]
        assert names == sorted(names)
        assert [row["label"] for row in split] == [0 if n < "b" else 1 for n in names]
    assert len(version.shards("train")) > 1


def test_the_manifest_says_what_was_made_and_from_what(tmp_path: Path) -> None:
    put_pictures(tmp_path / "photos", ["a", "b"], each=20)
    result = ingest(
        ImageFolder(str(tmp_path / "photos")), str(tmp_path), "p", FAIL, origin={"path": "mine"}
    )
    version = read_version(result.version.uri)
    assert version.conversion["source"] == {"path": "mine"}
    for split in version.splits:
        for shard in version.shards(split):
            path = Path(version.uri, shard.path)
            assert files.file_hash(path) == shard.sha256
            assert pq.ParquetFile(path).metadata.num_rows == shard.num_rows
    default = ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "q", FAIL)
    assert default.version.conversion["source"]["path"] == str(tmp_path / "photos")


def test_statistics_come_from_the_training_rows_alone(tmp_path: Path) -> None:
    rows = [{"age": 10 + index, "city": "Rom", "label": "a"} for index in range(4)]
    rows += [{"age": None, "city": None, "label": "b"}]
    test = [{"age": 1000, "city": "Bern", "label": "a"}, {"age": 5, "city": "Bern", "label": "b"}]
    for name, records in {"train": rows, "test": test}.items():
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, records)))
    source = Jsonl(path=str(tmp_path), fields="auto")
    options = IngestOptions(split=SplitConfig(val=0))
    info = ingest(source, str(tmp_path), "people", options).version.info
    assert info.column("age").mean == 11.5
    assert info.column("age").std == pytest.approx(1.25**0.5)
    assert info.column("city").categories == ("Rom",)


def test_a_set_without_a_row_to_train_on_is_refused_even_with_skip(tmp_path: Path) -> None:
    put(tmp_path, "photos/cat/1.png", b"no picture")
    with pytest.raises(DataError, match="no row is left to train on"):
        ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), "photos", SKIP)
    assert catalog.list_versions(str(tmp_path), "photos") == []


@pytest.mark.parametrize("name", ["a/b", "../up", "", ".hidden", "two words"])
def test_a_name_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    put_pictures(tmp_path / "photos", ["a"], each=2)
    with pytest.raises(ConfigError, match=r"dataset\.name"):
        ingest(ImageFolder(str(tmp_path / "photos")), str(tmp_path), name, FAIL)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"on_error": "ignore"}, "on_error"),
        ({"split": SplitConfig(val=0.6, test=0.4)}, "split.val"),
        ({"split": SplitConfig(val=-0.1)}, "split.val"),
        ({"shard_bytes": 0}, "shard_bytes"),
    ],
)
def test_options_that_cannot_be_are_refused_by_their_key(options: Any, key: str) -> None:
    with pytest.raises(ConfigError, match=key):
        IngestOptions(**options)


def test_shards_carry_the_features_note_of_hugging_face_datasets(tmp_path: Path) -> None:
    version = synthetic.captioned_shapes(20).write(str(tmp_path), "shapes", 2, 2)
    metadata = pq.read_schema(version.shard_uris("train")[0]).metadata or {}
    features = json.loads(metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"] == {"_type": "ClassLabel", "names": list(version.info.labels)}
    assert features["text"] == {"_type": "Value", "dtype": "string"}


def test_the_runner_of_this_process_is_a_loop() -> None:
    assert list(convert.in_process("stage", str, [1, 2])) == [(0, "1"), (1, "2")]
