"""A model in parts must train as a whole one does. One group does everything: its start is slow."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from aiplat.errors import ConfigError
from aiplat.training.local import run_processes
from aiplat.training.recipe import check_recipe
from aiplat.training.records import read_samples
from aiplat.training.result import best_weights
from aiplat.training.sharding import check_scaled
from tests.fakes import TinyTask, splits
from tests.training import shard_ranks
from tests.training.runs import MortalWorker, Run, losses

Found = dict[str, Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    run_processes(4, shard_ranks.train_in_parts, str(folder))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Found:
    found: Found = json.loads((folder / "rank-0.json").read_text())
    return found


def curve(found: Found, name: str) -> dict[int, float]:
    return {int(step): loss for step, loss in found[name]["losses"].items()}


def test_in_parts_the_loss_of_fifty_steps_is_that_of_whole_models(found: Found) -> None:
    whole, parts = curve(found, "ddp"), curve(found, "fsdp")
    assert len(whole) == 50
    assert parts == pytest.approx(whole, abs=1e-5)
    assert whole[50] < 0.1 * whole[1]
    assert found["fsdp"]["metrics"] == pytest.approx(found["ddp"]["metrics"], abs=1e-5)


def test_afterwards_every_rank_has_the_whole_model_with_the_averaged_weights(
    folder: Path, found: Found
) -> None:
    for name, value in found["ddp"]["weights"].items():
        assert torch.allclose(torch.tensor(value), torch.tensor(found["fsdp"]["weights"][name]))
    other = json.loads((folder / "rank-1.json").read_text())
    assert other["fsdp"]["weights"] == found["fsdp"]["weights"]


def test_a_rank_holds_a_quarter_of_the_weights(folder: Path) -> None:
    shares = [json.loads((folder / f"rank-{rank}.json").read_text())["share"] for rank in range(4)]
    # The scalar and what is smaller than the group weigh a little more.
    assert sum(shares) == pytest.approx(1, abs=0.01)
    assert max(shares) < 0.3


def test_ranks_without_rows_keep_step_and_contribute_nothing(tmp_path: Path, found: Found) -> None:
    _, alone = shard_ranks.empty(tmp_path, "alone").go(TinyTask(shard_ranks.Layered()))
    assert curve(found, "empty") == pytest.approx(losses(alone), abs=1e-5)


def test_blocks_with_batch_norm_learn_in_half_width(found: Found) -> None:
    learned = curve(found, "fp16")
    assert len(learned) == 10
    assert learned[10] < 0.7 * learned[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[int, float]]:
    """The folder and the loss of a run of one process, which has the whole model."""
    run = shard_ranks.interrupted(tmp_path_factory.mktemp("whole"), "whole")
    _, worker = run.go(TinyTask(shard_ranks.Layered()))
    return str(run.folder), losses(worker)


def after(step: int, losses: dict[int, float]) -> Any:
    return pytest.approx({at: loss for at, loss in losses.items() if at > step}, abs=1e-5)


def test_what_four_ranks_saved_in_parts_two_go_on_with(
    folder: Path, found: Found, undisturbed: tuple[str, dict[int, float]]
) -> None:
    whole_run, expected = undisturbed
    assert curve(found, "two") == after(6, expected)
    assert sorted(read_samples(str(folder / "two"), 1)) == list(range(120))
    handed_over = best_weights(str(folder / "two"))
    for name, value in best_weights(whole_run).items():
        assert torch.allclose(handed_over[name], value, atol=1e-4), name


def test_a_damaged_part_sends_the_run_back_to_the_checkpoint_before(
    found: Found, undisturbed: tuple[str, dict[int, float]]
) -> None:
    (note,) = found["damaged"]["notes"]
    assert "shards/shard-00001" in note
    assert note.endswith("does not match its hash; going back to step 4")
    assert curve(found, "damaged") == after(4, undisturbed[1])


def test_a_run_goes_on_in_another_strategy(
    folder: Path, found: Found, undisturbed: tuple[str, dict[int, float]]
) -> None:
    assert curve(found, "from ddp") == after(4, undisturbed[1])
    _, alone = shard_ranks.interrupted(folder, "one").go(TinyTask(shard_ranks.Layered()))
    assert losses(alone) == after(6, undisturbed[1])


def test_a_saved_run_has_a_file_a_rank_and_no_whole_one(folder: Path) -> None:
    newest = max((folder / "fsdp" / "checkpoints").glob("step-*"))
    assert len(list((newest / "shards").glob("*.safetensors"))) == 2
    assert not (newest / "model.safetensors").exists()


def test_a_scalar_that_would_break_the_scaling_of_fp16_is_refused() -> None:
    scalar, matrix = torch.nn.Parameter(torch.ones(())), torch.nn.Parameter(torch.ones(2, 2))
    check_scaled(torch.optim.SGD([matrix, scalar]))
    with pytest.raises(ConfigError, match="first parameter is no scalar"):
        check_scaled(torch.optim.SGD([scalar, matrix]))


def test_compiling_a_model_in_parts_is_refused(tmp_path: Path) -> None:
    worker = MortalWorker(splits(), TinyTask(), str(tmp_path), world_size=2, strategy="fsdp")
    recipe = Run(tmp_path, loop={"compile": True}).recipe()
    with pytest.raises(ConfigError, match=r"set loop\.compile=false"):
        check_recipe(recipe, worker.task, worker)
