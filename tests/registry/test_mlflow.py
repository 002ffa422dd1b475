import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aiplat.errors import ConfigError, RegistryError
from aiplat.registry.card import ModelFacts
from aiplat.registry.export import export_model
from aiplat.registry.folder import ModelFolder
from aiplat.registry.mlflow import Registry
from aiplat.registry.versions import fetch
from aiplat.store.mlflow import open_client

Export = Callable[[str, float], str]


@pytest.fixture
def registry(storage: str) -> Registry:
    return Registry(storage)


@pytest.fixture
def export(tmp_path: Path, facts: ModelFacts) -> Export:
    """Export a model of a run and a weight."""

    def make(run: str, weight: float) -> str:
        weights = {"w": torch.full((2,), weight)}
        # Drawing is what takes time, and it is tested elsewhere.
        plain = replace(facts, run=run, confusion=None)
        return export_model(str(tmp_path / run), weights, "none", plain)

    return make


def test_a_registered_model_is_found_by_alias_version_and_name(
    registry: Registry, export: Export
) -> None:
    made = registry.register(export("first", 1), "shapes", alias="champion")
    assert (made.id, made.aliases, made.dataset) == ("shapes:1", ("champion",), "shapes@0123")
    for reference in ("shapes@champion", "shapes:1", "shapes"):
        assert registry.resolve(reference) == made


def test_its_files_outlive_the_runs_folder(registry: Registry, export: Export) -> None:
    exported = export("first", 1)
    registry.register(exported, "shapes", alias="champion")
    shutil.rmtree(exported)
    version, folder = registry.fetch("shapes@champion")
    assert folder.about["weights_sha256"] == version.weights_sha256
    assert (folder.path / "card.md").is_file()
    assert folder.path.is_relative_to(Path(registry.storage) / "mlartifacts")


def test_an_alias_moves_to_the_version_registered_with_it(
    registry: Registry, export: Export
) -> None:
    registry.register(export("first", 1), "shapes", alias="champion")
    second = registry.register(export("second", 2), "shapes", alias="champion")
    assert second.id == "shapes:2"
    assert registry.resolve("shapes@champion").version == 2
    assert registry.resolve("shapes:1").aliases == ()


def test_without_an_alias_none_moves(registry: Registry, export: Export) -> None:
    registry.register(export("first", 1), "shapes", alias="champion")
    registry.register(export("second", 2), "shapes")
    assert registry.resolve("shapes").version == 1
    assert registry.resolve("shapes:2").aliases == ()


def test_a_name_without_a_champion_means_its_newest_version(
    registry: Registry, export: Export
) -> None:
    registry.register(export("first", 1), "shapes")
    registry.register(export("second", 2), "shapes", alias="challenger")
    assert registry.resolve("shapes").version == 2


def test_registering_the_same_weights_of_a_run_again_makes_no_second_version(
    registry: Registry, export: Export
) -> None:
    first = registry.register(export("first", 1), "shapes")
    again = registry.register(export("first", 1), "shapes", alias="champion")
    assert again == replace(first, aliases=("champion",))
    assert registry.register(export("first", 2), "shapes").version == 2
    assert registry.register(export("second", 1), "shapes").version == 3


def test_the_files_belong_to_the_tracking_run(
    registry: Registry, export: Export, tmp_path: Path
) -> None:
    client = open_client(registry.uri)
    experiment = client.create_experiment("mine", artifact_location=str(tmp_path / "artifacts"))
    run_id = client.create_run(experiment).info.run_id
    assert registry.register(export("first", 1), "shapes", run_id=run_id).run_id == run_id


def test_a_model_whose_tracking_run_is_gone_gets_a_run_of_its_own(
    registry: Registry, export: Export
) -> None:
    made = registry.register(export("first", 1), "shapes", run_id="f" * 32)
    run = open_client(registry.uri).get_run(made.run_id)
    assert (run.info.run_name, run.info.status) == ("first", "FINISHED")


def test_versions_are_listed_by_name_and_number(registry: Registry, export: Export) -> None:
    assert registry.list_versions() == []
    registry.register(export("first", 1), "shapes")
    registry.register(export("second", 2), "shapes", alias="champion")
    registry.register(export("first", 1), "forms")
    assert [version.id for version in registry.list_versions()] == [
        "forms:1",
        "shapes:1",
        "shapes:2",
    ]
    assert [version.aliases for version in registry.list_versions("shapes")] == [(), ("champion",)]


def test_an_alias_can_be_moved_by_itself(registry: Registry, export: Export) -> None:
    registry.register(export("first", 1), "shapes", alias="champion")
    registry.register(export("second", 2), "shapes", alias="challenger")
    assert registry.set_alias("shapes@challenger", "champion").aliases == ("challenger", "champion")
    assert registry.resolve("shapes").version == 2


def test_an_unknown_model_is_answered_with_those_there_are(
    registry: Registry, export: Export
) -> None:
    with pytest.raises(RegistryError, match=r"no model 'clip' .*there are: none"):
        registry.resolve("clip@champion")
    registry.register(export("first", 1), "shapes")
    with pytest.raises(RegistryError, match=r"there are: shapes\); did you mean 'shapes'"):
        registry.resolve("shape")


def test_an_unknown_alias_or_version_is_answered_with_those_there_are(
    registry: Registry, export: Export
) -> None:
    registry.register(export("first", 1), "shapes", alias="champion")
    with pytest.raises(RegistryError, match=r"no alias 'prod' \(it has: champion \(1\)\)"):
        registry.resolve("shapes@prod")
    with pytest.raises(RegistryError, match=r"no version 7 \(it has: 1\)"):
        registry.resolve("shapes:7")


def test_looking_for_a_model_in_a_mistyped_storage_creates_nothing(tmp_path: Path) -> None:
    for look in (
        Registry(str(tmp_path / "stroage")).list_versions,
        lambda: Registry(str(tmp_path / "stroage")).resolve("clip"),
    ):
        with pytest.raises(RegistryError, match=r"no model registry at .*stroage/mlflow\.db"):
            look()
    assert not (tmp_path / "stroage").exists()


def test_a_bad_name_or_folder_registers_nothing(
    registry: Registry, export: Export, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="name is 'a/b'"):
        registry.register(export("first", 1), "a/b")
    with pytest.raises(RegistryError, match="no model version: it lacks"):
        registry.register(str(tmp_path), "shapes")
    assert registry.list_versions() == []


def test_the_cards_folder_is_whole_again_after_download(registry: Registry, folder: str) -> None:
    registry.register(folder, "shapes")
    _, fetched = registry.fetch("shapes")
    original = {path.relative_to(folder) for path in Path(folder).rglob("*")}
    assert {path.relative_to(fetched.path) for path in fetched.path.rglob("*")} == original
    assert fetched.about == ModelFolder.open(Path(folder)).about


def test_files_that_only_mlflow_can_read_are_downloaded_whole(
    registry: Registry, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    version = registry.register(folder, "shapes")
    fetched = fetch(replace(version, uri=f"runs:/{version.run_id}/model"))
    assert fetched.path.is_relative_to(tmp_path / "cache")
    assert fetched.about == ModelFolder.open(Path(folder)).about
    assert (fetched.assets / "tokenizer" / "vocab.txt").is_file()
