"""Pretrained models: found by folder, package or hub id, and rebuilt from the assets alone."""

import shutil
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch

from aiplat.errors import ConfigError
from aiplat.models.bert import Bert
from aiplat.models.clip import ClipTowers
from aiplat.models.pretrained import pretrained_folder
from aiplat.models.tokenizer import open_tokenizer
from tests.models.hub import bert_folder, clip_folder

TOKENS = torch.tensor([[2, 40, 41, 1], [2, 50, 1, 0]])


def test_a_folder_is_loaded_and_afterwards_no_longer_needed(tmp_path: Path) -> None:
    original = bert_folder(tmp_path / "bert")
    assets = tmp_path / "assets"
    loaded = Bert(assets, str(tmp_path / "bert"), max_tokens=16).eval()
    expected = original(input_ids=TOKENS, attention_mask=(TOKENS != 0).long())[0]
    torch.testing.assert_close(loaded(TOKENS, TOKENS != 0), expected)

    shutil.rmtree(tmp_path / "bert")
    again = Bert(assets, str(tmp_path / "bert"), max_tokens=16, load_weights=False).eval()
    again.load_state_dict(loaded.state_dict())
    torch.testing.assert_close(again(TOKENS, TOKENS != 0), expected)
    assert open_tokenizer(assets).encode("a blue triangle").ids[0] == 2


def test_a_folder_inside_a_package_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "published_model/inner").mkdir(parents=True)
    (tmp_path / "published_model/__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    found = pretrained_folder("package:published_model/inner")
    assert found == tmp_path / "published_model/inner"
    with pytest.raises(ConfigError, match="has no folder 'outer'"):
        pretrained_folder("package:published_model/outer")
    with pytest.raises(ConfigError, match=r"'not_there' .*not installed"):
        pretrained_folder("package:not_there/inner")


def test_a_hub_id_out_of_reach_fails_at_once_and_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    started = time.monotonic()
    with pytest.raises(ConfigError, match=r"'some-team/some-model' .*point .*to a local folder"):
        pretrained_folder("some-team/some-model")
    assert time.monotonic() - started < 10


@pytest.mark.parametrize("name", ["./not/there", "/not/there", "one/two/three"])
def test_a_path_that_is_not_there_is_not_asked_of_the_hub(name: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no folder {name}"):
        pretrained_folder(name)


def test_a_folder_without_a_model_or_with_one_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no model"):
        Bert(tmp_path, str(tmp_path / "empty"))
    bert_folder(tmp_path / "bert")
    with pytest.raises(ConfigError, match="of type 'bert', not 'clip'"):
        ClipTowers(tmp_path / "assets", str(tmp_path / "bert"))


def test_clip_towers_embed_as_the_published_model_does(tmp_path: Path) -> None:
    original = clip_folder(tmp_path / "clip")
    towers = ClipTowers(tmp_path / "assets", str(tmp_path / "clip"))
    assert (towers.image_size, towers.embed_size, towers.max_tokens) == (16, 12, 16)
    image = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    tower = towers.image_tower.eval()
    pixels = tower.standardise(image)
    expected = original(input_ids=TOKENS, attention_mask=(TOKENS != 0).long(), pixel_values=pixels)
    embedded = torch.nn.functional.normalize(tower(image), dim=1)
    torch.testing.assert_close(embedded, expected.image_embeds)
    embedded = torch.nn.functional.normalize(towers.text_tower.eval()(TOKENS, TOKENS != 0), dim=1)
    torch.testing.assert_close(embedded, expected.text_embeds)
