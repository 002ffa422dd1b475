"""How fast two processes of this machine add up their gradients."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from aiplat.doctor.finding import Finding, judged

_NUM_RANKS = 2
_NUM_VALUES = 8 << 20
_ROUNDS = 5
_TIMEOUT_S = 90
_SLOW_GB = 0.2


def measure_all_reduce() -> Iterator[Finding]:
    """Bandwidth of an all-reduce between two processes, by gloo: as workers on CPUs do it.

    It counts the bytes of one rank's gradients, once.
    """
    with tempfile.TemporaryDirectory(prefix="doctor-") as folder:
        ranks = [
            subprocess.Popen(  # noqa: S603 - our own arguments
                [sys.executable, "-m", "aiplat.doctor.exchange", folder, str(rank)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(_NUM_RANKS)
        ]
        try:
            told = [rank.communicate(timeout=_TIMEOUT_S) for rank in ranks]
        finally:
            for rank in ranks:
                rank.kill()
                rank.wait()
    for rank, (_, errors) in zip(ranks, told, strict=True):
        if rank.returncode:
            raise RuntimeError(errors.strip().splitlines()[-1] if errors.strip() else "no output")
    speed = 4 * _NUM_VALUES / 1e9 / max(float(seconds) for seconds, _ in told)
    yield judged(
        "all-reduce",
        f"{speed:.2f} GB/s between {_NUM_RANKS} processes (gloo)",
        "ok" if speed >= _SLOW_GB else "warning",
        f"{1 / speed:.1f} s for 1 GB of gradients: set loop.compress_gradients, or larger batches",
    )


def _rank(folder: str, rank: int) -> float:
    """The median of some rounds, in seconds."""
    import torch
    from torch import distributed

    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{Path(folder, 'meeting')}",
        rank=rank,
        world_size=_NUM_RANKS,
        timeout=timedelta(seconds=_TIMEOUT_S),
    )
    values = torch.ones(_NUM_VALUES)
    times = []
    for _ in range(_ROUNDS):
        distributed.barrier()
        began = time.perf_counter()
        distributed.all_reduce(values)
        times.append(time.perf_counter() - began)
    expected = float(_NUM_RANKS**_ROUNDS)
    if not bool((values == expected).all()):
        raise ValueError(f"the sum is {values[0]:g}, expected {expected:g}")
    distributed.destroy_process_group()
    return sorted(times)[_ROUNDS // 2]


if __name__ == "__main__":
    sys.stdout.write(f"{_rank(sys.argv[1], int(sys.argv[2]))}\n")
