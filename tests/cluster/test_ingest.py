from pathlib import Path

import pytest

from aiplat.cluster.session import Session
from aiplat.datasets import catalog, convert
from aiplat.datasets.config import IngestOptions
from aiplat.datasets.formats.imagefolder import ImageFolder
from aiplat.errors import DataError
from tests.datasets.pictures import picture, put, put_pictures, rows_of

# Ray Data uses deprecated parts of its own dependencies.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def test_the_cluster_makes_the_same_version_as_a_loop_does(
    cluster: Session, tmp_path: Path
) -> None:
    from aiplat.cluster.ingest import ingest

    put_pictures(tmp_path / "photos", ["a/cat", "dög [x]"], each=300)
    put(tmp_path, "photos/a/cat/cut off.jpg", picture(1, "JPEG")[:300])
    options = IngestOptions("skip", shard_bytes=50_000)
    source = ImageFolder(str(tmp_path / "photos"))
    plain = convert.ingest(source, str(tmp_path / "loop"), "photos", options)
    seen: list[tuple[str, int, int]] = []
    result = ingest(
        source,
        str(tmp_path),
        "photos",
        options,
        progress=lambda stage, done, total: seen.append((stage, done, total)),
    )
    assert result.version.version == plain.version.version
    assert result.version.splits == plain.version.splits
    assert result.version.info == plain.version.info
    assert result.version.num_skipped == plain.version.num_skipped == 1
    assert result.report == plain.report
    assert rows_of(result.version) == rows_of(plain.version)
    num_shards = sum(map(len, result.version.splits.values()))
    assert num_shards > 5
    assert [event for event in seen if event[0] == "inspect"] == [
        ("inspect", done, 3) for done in range(4)
    ]
    assert seen[-1] == ("write", num_shards, num_shards)

    def meddle(stage: str, done: int, _total: int) -> None:
        if (stage, done) == ("write", 0):
            put(tmp_path, "photos/dög [x]/7.png", picture(4321))

    # What a worker finds wrong arrives as itself, not wrapped in an error of Ray.
    with pytest.raises(DataError, match="changed while it was ingested"):
        ingest(source, str(tmp_path), "other", options, progress=meddle)
    assert catalog.list_versions(str(tmp_path), "other") == []
