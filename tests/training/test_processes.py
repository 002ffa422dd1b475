"""Two processes must train as one does. One group does everything, for its start is slow."""

import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiplat.training.local import run_processes
from aiplat.training.records import read_samples
from tests.fakes import TinyTask
from tests.training import ranks
from tests.training.lightning.modules import Blobs, task
from tests.training.runs import Run, losses, smooth_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of a group of two, one of which a single process began."""
    folder = tmp_path_factory.mktemp("group")
    ranks.curve(folder, "from one").cut_off(5)
    run_processes(2, ranks.train_in_group, str(folder))
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"rank-{rank}.json").read_text()) for rank in (0, 1)]


def curve(found: dict[str, Any], name: str) -> dict[int, float]:
    return {int(step): loss for step, loss in found[name].items()}


@pytest.mark.parametrize("make", [ranks.curve, ranks.empty])
def test_two_processes_have_the_loss_curve_of_one(
    tmp_path: Path, found: list[dict[str, Any]], make: Callable[[Path], Run]
) -> None:
    _, alone = make(tmp_path).go()
    assert curve(found[0], make.__name__) == pytest.approx(losses(alone), abs=1e-5)
    assert not found[1][make.__name__], "one rank speaks for all"


def test_compressed_gradients_cost_digits_but_not_the_curve(
    tmp_path: Path, folder: Path, found: list[dict[str, Any]]
) -> None:
    _, alone = ranks.compressed(tmp_path).go()
    exact = losses(alone)
    differences = [abs(loss - exact[step]) for step, loss in curve(found[0], "compressed").items()]
    assert 0 < max(differences) < 0.01
    summary = json.loads((folder / "compressed" / "profile" / "summary.json").read_text())
    assert (summary["ranks"], summary["steps"]) == (2, 2)
    assert (folder / "compressed" / "profile" / "rank-1.json").exists()


def test_a_loss_over_all_rows_of_a_batch_is_that_of_one_process(
    tmp_path: Path, found: list[dict[str, Any]]
) -> None:
    _, alone = ranks.pairs(tmp_path).go(ranks.Pairs())
    assert curve(found[0], "pairs") == pytest.approx(losses(alone), abs=1e-5)
    assert losses(alone)[8] < losses(alone)[1]


def test_each_rank_goes_on_with_its_own_random_numbers(found: list[dict[str, Any]]) -> None:
    before, after = curve(found[0], "before"), curve(found[0], "after")
    assert (max(before), min(after)) == (7, 7)
    assert before | after == curve(found[0], "whole")


def test_a_run_goes_on_with_another_number_of_processes(
    tmp_path: Path, folder: Path, found: list[dict[str, Any]]
) -> None:
    _, undisturbed = ranks.curve(tmp_path).go()
    _, after = ranks.curve(folder, "to one").go(TinyTask(smooth_model()))
    assert min(curve(found[0], "from one")) == min(losses(after)) == 5
    for part in (curve(found[0], "from one"), curve(found[0], "to one"), losses(after)):
        expected = {step: losses(undisturbed)[step] for step in part}
        assert part == pytest.approx(expected, abs=1e-5)
    for name in ("from one", "to one"):
        for epoch in (1, 2, 3):
            assert sorted(read_samples(str(folder / name), epoch)) == list(range(120))


def test_a_process_killed_while_it_saves_loses_no_row_and_repeats_none(
    tmp_path: Path, folder: Path
) -> None:
    # The group of `folder` was forked from a process that such a one starts from in no time.
    process = multiprocessing.get_context("forkserver").Process(
        target=ranks.train_saving_all_the_time, args=(str(tmp_path),)
    )
    process.start()
    # A draft is there only while a checkpoint is being written.
    while not (any(tmp_path.glob("checkpoints/.step-*")) and any(tmp_path.glob("samples/*/*"))):
        assert process.is_alive(), "the run ended before it could be killed"
        time.sleep(0.001)
    process.kill()
    process.join()
    result, worker = ranks.saving_all_the_time(str(tmp_path)).go()
    assert result.steps == 24
    assert not any(tmp_path.glob("checkpoints/.*"))
    assert worker.events[0]["step"] < 24
    for epoch in (1, 2, 3):
        assert sorted(read_samples(str(tmp_path), epoch)) == list(range(120))


def test_all_ranks_save_when_one_is_asked_to(found: list[dict[str, Any]]) -> None:
    assert found[0]["asked"] == [[1], ["saved at step 1, as was asked"]]
    assert found[1]["asked"] == [[1], []]


@pytest.mark.filterwarnings("ignore:No (positive|negative) samples:UserWarning")
def test_what_a_module_logs_is_that_of_all_ranks(
    tmp_path: Path, found: list[dict[str, Any]]
) -> None:
    _, alone = ranks.module(tmp_path).go(task(Blobs(dropout=0.0)))
    expected = [event for event in alone.events if event["kind"] == "epoch"]
    for ours, event in zip(found[0]["module"], expected, strict=True):
        for name in ("accuracy", "val_accuracy", "val_loss"):
            assert ours[name] == pytest.approx(event[name], abs=1e-4)
        assert ours["train"] == pytest.approx(event["train"], abs=1e-4)


def test_metrics_count_every_row_once_on_all_ranks(found: list[dict[str, Any]]) -> None:
    for index, num_rows in enumerate(ranks.MEASURED):
        alone = ranks.measured(0, 1, num_rows)
        for of_rank in found:
            metrics, tensors = of_rank["measured"][index]
            assert metrics == pytest.approx(alone[0])
            assert tensors == alone[1]


def test_gathered_rows_are_everyones_and_gradients_find_their_way_back(
    found: list[dict[str, Any]],
) -> None:
    everything = [[0.0], [1.0], [10.0], [11.0], [12.0]]
    # The losses are the sum of squares, once and twice.
    gradients = [[6 * row[0]] for row in everything]
    assert found[0]["gathered"] == [everything, 0, gradients[:2]]
    assert found[1]["gathered"] == [everything, 2, gradients[2:]]
