"""Weights from files: safe to read, and whatever does not fit is named."""

import logging
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from aiplat.errors import ConfigError
from aiplat.models.weights import load_state, read_state


class Network(nn.Module):
    """A body and a head of as many outputs as wanted."""

    def __init__(self, outputs: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Linear(2, width)
        self.head = nn.Linear(width, outputs)


def test_both_kinds_of_files_are_read(tmp_path: Path) -> None:
    state = Network(3).state_dict()
    save_file(state, tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "a.pt")
    for name in ("a.safetensors", "a.pt"):
        read = read_state(tmp_path / name)
        assert {key: value.tolist() for key, value in read.items()} == {
            key: value.tolist() for key, value in state.items()
        }


def test_a_file_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "ran",))  # type: ignore[return-value]

    (tmp_path / "a.pt").write_bytes(pickle.dumps({"body.weight": Runs()}, protocol=2))
    with pytest.raises(ConfigError, match="cannot be read as weights"):
        read_state(tmp_path / "a.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_a_damaged_file_and_a_missing_one_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="there is no file"):
        read_state(tmp_path / name)
    (tmp_path / name).write_bytes(b"not weights")
    with pytest.raises(ConfigError, match=name):
        read_state(tmp_path / name)


def test_a_checkpoint_in_place_of_a_state_dict_is_refused(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "model": Network(3).state_dict()}, tmp_path / "a.pt")
    with pytest.raises(ConfigError, match="not a state dict"):
        read_state(tmp_path / "a.pt")


def test_a_head_for_other_classes_stays_fresh_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, target = Network(1000), Network(3)
    fresh = target.head.weight.detach().clone()
    with caplog.at_level(logging.WARNING):
        load_state(target, source.state_dict(), "the file", head="head.")
    assert torch.equal(target.body.weight, source.body.weight)
    assert torch.equal(target.head.weight, fresh)
    assert "the head of the file does not fit" in caplog.text


def test_a_head_that_fits_is_loaded_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    source, target = Network(3), Network(3)
    load_state(target, source.state_dict(), "the file", head="head.")
    assert torch.equal(target.head.weight, source.head.weight)
    assert caplog.text == ""


def test_a_body_of_another_shape_is_an_error_that_names_it() -> None:
    with pytest.raises(ConfigError, match=r"the file does not fit Network.*body\.weight"):
        load_state(Network(3), Network(3, width=5).state_dict(), "the file", head="head.")
