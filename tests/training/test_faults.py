import errno
from pathlib import Path

import pytest
import torch

from aiplat.errors import ConfigError, DataError
from aiplat.training.checkpoint import CheckpointError
from aiplat.training.divergence import DivergenceError
from aiplat.training.faults import (
    Fault,
    clear_faults,
    fault_of,
    first_cause,
    one_line,
    read_faults,
    write_fault,
)

PEER = RuntimeError("[pair.cc:561] gloo: Connection closed by peer [127.0.0.1]:19852")


def caused(error: Exception, by: Exception) -> Exception:
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (MemoryError(), "oom"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "oom"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "oom"),
        (caused(DataError("the image cannot be read"), MemoryError()), "oom"),
        (DivergenceError("the loss became nan"), "nan"),
        (DataError("row_id 3: no"), "data"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (CheckpointError("cannot write checkpoint /x"), "disk"),
        (ConfigError("task.primary is 'f1'"), "code"),
        (ValueError("x"), "code"),
        (FileNotFoundError(errno.ENOENT, "no such file"), "code"),
    ],
)
def test_causes_are_told_apart(error: Exception, cause: str) -> None:
    fault = fault_of(error, rank=1, step=4)
    assert (fault.cause, fault.is_consequence) == (cause, False)


@pytest.mark.parametrize(
    "error", [PEER, torch.distributed.DistBackendError("NCCL error: remote process exited")]
)
def test_what_the_innocent_meet_is_a_consequence(error: Exception) -> None:
    assert fault_of(error).is_consequence


def test_torch_tells_of_a_lack_of_memory_as_we_expect() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert fault_of(caught.value).cause == "oom"


def test_the_first_cause_is_the_earliest_that_is_no_consequence() -> None:
    innocent = Fault("lost", "closed", rank=0, at=1.0, is_consequence=True)
    first, second = Fault("data", "x", rank=1, at=2.0), Fault("code", "y", rank=2, at=3.0)
    assert first_cause([innocent, second, first]) == first
    assert first_cause([innocent]) == innocent


def test_of_ranks_that_hang_the_cause_is_the_one_furthest_back() -> None:
    waiting = Fault("stall", "waits", rank=0, at=1.0, progress=7.5)
    stuck = Fault("stall", "is stuck", rank=1, at=2.0, progress=7.0)
    assert first_cause([waiting, stuck]) == stuck
    frozen = Fault("stall", "does not answer", rank=2, at=3.0, progress=-1.0)
    assert first_cause([waiting, stuck, frozen]) == frozen


def test_ranks_tell_in_the_runs_folder(tmp_path: Path) -> None:
    run_dir = str(tmp_path)
    assert read_faults(run_dir) == []
    told = [fault_of(PEER, 0, 3), Fault("code", "x", rank=12)]
    for fault in reversed(told):
        write_fault(run_dir, fault)
    (tmp_path / "faults" / "rank-00002.json").write_text('{"cause": ')
    assert read_faults(run_dir) == told
    clear_faults(run_dir)
    assert read_faults(run_dir) == []


def test_a_fault_is_one_line() -> None:
    fault = fault_of(ValueError("a\n  b" + "c" * 1000), 1, 4)
    assert fault.line.startswith("code at step 4 on rank 1: ValueError: a bccc")
    assert len(one_line("x" * 1000)) == 600
    assert Fault("preempted", "gone").line == "preempted: gone"
    assert fault.event() == {
        "kind": "failure",
        "cause": "code",
        "text": fault.line,
        "rank": 1,
        "step": 4,
        "at": fault.at,
    }
