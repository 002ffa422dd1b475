from pathlib import Path

import pytest

from aiplat.datasets import catalog, synthetic
from aiplat.errors import DataError


def write(storage: Path, seed: int) -> str:
    return synthetic.short_reviews(30, seed).write(str(storage), "reviews", 3, 3).version


def test_latest_is_the_version_that_was_ingested_last_anew_or_again(tmp_path: Path) -> None:
    first, second = write(tmp_path, 1), write(tmp_path, 2)
    assert catalog.find_version(str(tmp_path), "reviews").version == second
    assert write(tmp_path, 1) == first
    assert catalog.find_version(str(tmp_path), "reviews").version == first
    assert catalog.list_versions(str(tmp_path), "reviews") == sorted([first, second])
    assert catalog.list_datasets(str(tmp_path)) == ["reviews"]


def test_a_version_is_found_by_its_hash_or_the_beginning_of_it(tmp_path: Path) -> None:
    version = write(tmp_path, 1)
    write(tmp_path, 2)
    assert catalog.find_version(str(tmp_path), "reviews", version).version == version
    assert catalog.find_version(str(tmp_path), "reviews", version[:6]).version == version
    with pytest.raises(DataError, match="more than one version ''"):
        catalog.find_version(str(tmp_path), "reviews", "")


def test_what_is_not_there_is_named_with_what_is(tmp_path: Path) -> None:
    version = write(tmp_path, 1)
    with pytest.raises(DataError, match=f"no version 'zzz' .it has: {version}"):
        catalog.find_version(str(tmp_path), "reviews", "zzz")
    with pytest.raises(DataError, match=r"no dataset 'review' .*did you mean 'reviews'"):
        catalog.find_version(str(tmp_path), "review")


def test_without_a_note_of_the_latest_only_a_lone_version_is_it(tmp_path: Path) -> None:
    version = write(tmp_path, 1)
    (tmp_path / "datasets/reviews/latest.json").unlink()
    assert catalog.find_version(str(tmp_path), "reviews").version == version
    write(tmp_path, 2)
    (tmp_path / "datasets/reviews/latest.json").unlink()
    with pytest.raises(DataError, match="which version is the latest"):
        catalog.find_version(str(tmp_path), "reviews")


def test_a_folder_without_a_manifest_is_no_version(tmp_path: Path) -> None:
    version = write(tmp_path, 1)
    (tmp_path / "datasets/reviews/0123456789abcdef").mkdir()
    assert catalog.list_versions(str(tmp_path), "reviews") == [version]
