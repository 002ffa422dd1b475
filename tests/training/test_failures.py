"""Each failure, provoked for real in one of two processes: its one line, and what follows."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from aiplat.errors import ClusterError
from aiplat.tasks.task import Batch
from aiplat.training.faults import read_faults
from aiplat.training.records import read_samples
from tests.training import failing
from tests.training.failing import Group, two_ranks
from tests.training.runs import losses


def undisturbed(folder: Path) -> dict[int, float]:
    _, worker = two_ranks(folder).go()
    return losses(worker)


def is_each_row_once(folder: Path) -> bool:
    return all(sorted(read_samples(str(folder), epoch)) == list(range(120)) for epoch in (1, 2))


def test_a_killed_process_is_the_cause_and_not_what_its_peers_met(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run"))
    group.attempt(failing.is_killed)
    assert group.causes == ["lost at step 3 on rank 1: its process died"]
    after = group.attempt()
    assert min(after) == 3
    expected = undisturbed(tmp_path / "alone")
    assert after == pytest.approx({step: expected[step] for step in after}, abs=1e-5)
    assert is_each_row_once(tmp_path / "run")


@pytest.mark.parametrize("trouble", failing.LOST_GROUPS)
def test_ranks_whose_group_is_taken_away_do_not_go_on_alone(
    tmp_path: Path, trouble: Callable[[Batch], None]
) -> None:
    group = Group(two_ranks(tmp_path / "run"))
    group.attempt(trouble, at=4)
    met = read_faults(str(tmp_path / "run"))
    assert [(fault.error, fault.is_consequence) for fault in met] == [("GroupEndedError", True)] * 2
    after = group.attempt()
    assert not group.causes
    # What one of them did on its own after the checkpoint of step 2 is not in one of step 4.
    assert min(after) == 3
    expected = undisturbed(tmp_path / "alone")
    assert after == pytest.approx({step: expected[step] for step in after}, abs=1e-5)
    assert is_each_row_once(tmp_path / "run")


def test_a_step_that_does_not_fit_into_memory_goes_on_in_smaller_parts(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run"), max_failures=0)
    group.attempt(failing.needs_memory, at=1)
    (cause,) = group.causes
    assert cause.startswith("oom at step 1 on rank 1: 8 rows at a time do not fit into memory (")
    assert cause.endswith("going on with 4 and twice as many of them")
    after = group.attempt(failing.needs_memory, at=1)
    assert after == pytest.approx(undisturbed(tmp_path / "alone"), abs=1e-5)
    assert is_each_row_once(tmp_path / "run")


def test_a_rank_that_hangs_is_told_from_those_that_wait_for_it(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run", stall_s=4.0))
    group.attempt(failing.waits_for_ever)
    (cause,) = group.causes
    assert cause.startswith("stall at step 3 on rank 1: no progress for 4 s, in waits_for_ever (")
    stacks = {path.name[-5:-4]: path.read_text() for path in (tmp_path / "run/logs").glob("s*")}
    assert "in waits_for_ever" in stacks["1"]
    assert "in train_step" in stacks["0"]
    assert "waits_for_ever" not in stacks["0"]


def test_a_process_that_cannot_even_look_after_itself_is_ended_too(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run", stall_s=4.0))
    group.attempt(failing.holds_the_lock)
    (cause,) = group.causes
    assert cause.startswith("stall at step 3 on rank 1: it does not answer")
    group.attempt()
    stacks = [path.read_text() for path in (tmp_path / "run/logs").glob("stacks-*-rank-1.txt")]
    assert any("in holds_the_lock" in text for text in stacks)
    assert not list((tmp_path / "run/logs").glob(".*")), "a run that ends well leaves nothing"


def test_code_that_is_wrong_ends_the_run_at_once(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run"))
    with pytest.raises(failing.GroupError) as caught:
        group.attempt(failing.is_wrong)
    assert group.causes == ["code at step 3 on rank 1: ValueError: a typo in the loss"]
    assert caught.value.__notes__[-1] == group.causes[0]


def test_ranks_leave_out_a_batch_that_one_of_them_finds_not_finite(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run", on_nan="skip"))
    group.attempt(failing.is_poisoned, at=16)
    assert not group.causes
    (text,) = [event["text"] for event in group.events if event["kind"] == "note"]
    assert text.startswith("the loss became nan at step 16, on the rows with row_id ")
    (kept,) = (tmp_path / "run" / "bad_batches").iterdir()
    rows = json.loads(kept.read_text())["rows"]
    assert len(rows) == 6, "of rank 1, whose loss it was, and not those of rank 0"


def test_losses_without_progress_are_counted(tmp_path: Path) -> None:
    group = Group(two_ranks(tmp_path / "run"), max_failures=1)
    group.attempt(failing.is_killed)
    with pytest.raises(ClusterError, match=r"lost at step 3 on rank 1.*max_failures=1"):
        group.attempt(failing.is_killed, at=1)
