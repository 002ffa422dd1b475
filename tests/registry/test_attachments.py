from dataclasses import replace
from pathlib import Path

import pytest

from aiplat.registry.attachments import attach, attach_json, fetch_attachment, read_attachment
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import ModelVersion, fetch
from aiplat.store import files


@pytest.fixture
def version(storage: str, folder: str) -> ModelVersion:
    return Registry(storage).register(folder, "shapes")


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    made = tmp_path / "extra"
    (made / "below").mkdir(parents=True)
    (made / "below" / "a.bin").write_bytes(b"abc")
    (made / "done.json").write_text("{}")
    return made


@pytest.mark.parametrize("by_mlflow", [False, True])
def test_what_is_attached_is_found_again_and_the_version_is_as_before(
    version: ModelVersion,
    extra: Path,
    by_mlflow: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = files.folder_hashes(version.uri)
    if by_mlflow:
        version = replace(version, uri=f"runs:/{version.run_id}/model")
    assert read_attachment(version, "engines/ab/choice.json") is None
    attach(version, "engines/ab", extra)
    attach_json(version, "engines/ab/choice.json", {"engine": "openvino"})
    attach_json(version, "engines/ab/choice.json", {"engine": "eager"})
    assert read_attachment(version, "engines/ab/choice.json") == {"engine": "eager"}
    found = fetch_attachment(version, "engines/ab", "done.json")
    assert (found / "below" / "a.bin").read_bytes() == b"abc"
    # Once more: what was downloaded is kept.
    assert fetch_attachment(version, "engines/ab", "done.json") == found
    assert files.folder_hashes(str(fetch(version).path)) == before
