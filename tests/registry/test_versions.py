import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from aiplat.errors import RegistryError
from aiplat.registry.folder import ModelFolder
from aiplat.registry.versions import ModelVersion, Reference, fetch, parse_reference


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("clip", Reference("clip")),
        ("clip@champion", Reference("clip", alias="champion")),
        ("clip-v1.2:12", Reference("clip-v1.2", version=12)),
    ],
)
def test_a_reference_is_a_name_with_an_alias_or_a_version(text: str, reference: Reference) -> None:
    assert parse_reference(text) == reference


@pytest.mark.parametrize("text", ["", "clip@", "clip:", "clip:new", "clip:1@champion", "a/b", "@a"])
def test_what_is_no_reference_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RegistryError, match=r"clip@champion.*clip:3"):
        parse_reference(text)


@pytest.fixture
def version(folder: str) -> ModelVersion:
    digest = ModelFolder.open(Path(folder)).about["weights_sha256"]
    return ModelVersion("shapes", 2, (), folder, "sqlite:///x", "run", "shapes@0123", digest)


def test_files_on_this_machine_are_used_where_they_are(version: ModelVersion) -> None:
    assert fetch(version).path == Path(version.uri)
    assert fetch(replace(version, uri=f"file://{version.uri}")).path == Path(version.uri)


def test_files_that_are_gone_are_an_error_that_names_the_version(version: ModelVersion) -> None:
    shutil.rmtree(version.uri)
    with pytest.raises(RegistryError, match="model version shapes:2 are gone from"):
        fetch(version)


def test_files_of_an_mlflow_server_are_downloaded_once_and_checked(
    version: ModelVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    downloads: list[str] = []

    def download(remote: ModelVersion, target: str) -> None:
        downloads.append(remote.uri)
        shutil.copytree(version.uri, target, dirs_exist_ok=True)

    monkeypatch.setattr("aiplat.registry.versions._download", download)
    remote = replace(version, uri="mlflow-artifacts:/1/run/artifacts/model")
    assert fetch(remote) == fetch(remote)
    assert downloads == [remote.uri]
    assert fetch(remote).path.is_relative_to(tmp_path / "cache")
    other = replace(remote, weights_sha256="00")
    with pytest.raises(RegistryError, match="does not hold the weights that were registered"):
        fetch(other)
    assert len(list((tmp_path / "cache" / "aiplat" / "models").iterdir())) == 1
