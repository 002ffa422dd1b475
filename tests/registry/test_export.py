import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from aiplat.errors import RegistryError
from aiplat.registry.card import ModelFacts
from aiplat.registry.export import export_model
from aiplat.registry.folder import ModelFolder

Weights = dict[str, torch.Tensor]


def test_the_folder_gives_back_all_that_was_exported(
    folder: str, facts: ModelFacts, weights: Weights
) -> None:
    model = ModelFolder.open(Path(folder))
    loaded = load_file(model.weights)
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)
    assert (model.assets / "tokenizer" / "vocab.txt").read_text() == "a\nb"
    assert model.info == facts.info
    assert model.metrics == facts.metrics
    assert model.dataset == "shapes@0123"
    assert model.config["optim"] == {"_target_": "torch.optim.AdamW", "lr": 0.001}
    assert model.config["loop"] == {"max_epochs": 2, "clip_norm": None}
    assert model.about["run"] == "first"
    assert json.loads((model.path / "dataset.json").read_text())["id"] == "shapes@0123"


def test_secrets_stay_out_of_the_folder(folder: str) -> None:
    for path in Path(folder).rglob("*.*"):
        assert path.is_dir() or b"s3cret" not in path.read_bytes(), path


def test_weights_can_be_a_checkpoints_file_or_its_folder(tmp_path: Path, facts: ModelFacts) -> None:
    checkpoint = tmp_path / "step-00000002"
    checkpoint.mkdir()
    save_file({"w": torch.ones(2)}, checkpoint / "model.safetensors")
    digests = set()
    for given in (checkpoint, checkpoint / "model.safetensors"):
        made = export_model(str(tmp_path / "model"), given, str(tmp_path / "none"), facts)
        digests.add(ModelFolder.open(Path(made)).about["weights_sha256"])
        assert load_file(Path(made) / "model.safetensors")["w"].tolist() == [1, 1]
    assert len(digests) == 1


def test_missing_weights_leave_no_half_folder(tmp_path: Path, facts: ModelFacts) -> None:
    with pytest.raises(RegistryError, match=r"no weights at .*step-1"):
        export_model(str(tmp_path / "run" / "model"), tmp_path / "step-1", "none", facts)
    assert list((tmp_path / "run").iterdir()) == []


def test_exporting_again_replaces_the_folder(folder: str, facts: ModelFacts) -> None:
    export_model(folder, {"w": torch.ones(1)}, "none", replace(facts, run="second"))
    model = ModelFolder.open(Path(folder))
    assert model.about["run"] == "second"
    assert not model.assets.exists()


def test_the_same_weights_have_the_same_digest(
    tmp_path: Path, facts: ModelFacts, weights: Weights
) -> None:
    backwards = dict(reversed(weights.items()))
    made = [
        export_model(str(tmp_path / name), given, "none", facts)
        for name, given in (("a", weights), ("b", backwards))
    ]
    first, second = (ModelFolder.open(Path(path)).about["weights_sha256"] for path in made)
    assert first == second


def test_a_folder_that_lacks_a_file_is_named(folder: str) -> None:
    (Path(folder) / "config.yaml").unlink()
    with pytest.raises(RegistryError, match=r"no model version: it lacks config\.yaml"):
        ModelFolder.open(Path(folder))


def test_a_folder_of_another_format_is_refused(folder: str) -> None:
    path = Path(folder) / "version.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 9}))
    with pytest.raises(RegistryError, match="format 9, this aiplat reads 1"):
        ModelFolder.open(Path(folder))


def test_a_regressor_has_no_confusions(tmp_path: Path, facts: ModelFacts) -> None:
    plain = replace(facts, confusion=None)
    made = Path(export_model(str(tmp_path / "m"), {"w": torch.ones(1)}, "none", plain))
    assert not (made / "confusion.png").exists()
    assert "confusion" not in (made / "card.md").read_text().lower()
