"""What the time to the first batch goes into: seconds of the processor, by process.

Starts the experiment twice on a cluster of this machine, as `train_vs_torchrun.py` does, and counts
the second time what every process of the cluster computes until the first step is done:

    python -m aiplat.jobs.ingest source=easy_vqa
    python benchmarks/startup_cost.py [clip|resnet50]
"""

import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from aiplat.cluster.processes import descendants
from aiplat.cluster.scale import ClusterConfig
from aiplat.cluster.session import connect
from aiplat.config.compose import compose
from aiplat.jobs.schema import TrainConfig
from benchmarks.train_vs_torchrun import ours

TICKS = os.sysconf("SC_CLK_TCK")
STEPS = 30
SAMPLE_EVERY_S = 0.2
SHOWN = 15


class Accounts:
    """Samples what each process has used; the titles are the last that told what it is."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, dict[int, float]]] = []
        self.titles: dict[int, str] = {}
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._follow, daemon=True)
        self.thread.start()

    def until(self, at: float) -> dict[str, float]:
        """Seconds of the processor by title, from the first sample to unix time `at`."""
        self.is_over.set()
        self.thread.join()
        before, used = self.samples[0][1], dict[int, float]()
        for sampled_at, seconds in self.samples:
            for pid, spent in seconds.items():
                if sampled_at <= at:
                    used[pid] = max(spent, used.get(pid, 0.0))
        totals: dict[str, float] = {}
        for pid, spent in used.items():
            title = self.titles[pid]
            totals[title] = totals.get(title, 0.0) + spent - before.get(pid, 0.0)
        return totals

    def _follow(self) -> None:
        while not self.is_over.wait(SAMPLE_EVERY_S):
            pids = [os.getpid(), *descendants(os.getpid())]
            self.samples.append((time.time(), {pid: self._seconds(pid) for pid in pids}))

    def _seconds(self, pid: int) -> float:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            title = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            self.titles.setdefault(pid, "(ended)")
            return 0.0
        self._name(pid, [part.decode(errors="replace") for part in title if part])
        return (int(fields[11]) + int(fields[12])) / TICKS

    def _name(self, pid: int, title: list[str]) -> None:
        if pid == os.getpid():
            name = "driver"
        elif not title:
            # It is about to end.
            name = self.titles.get(pid, "(ended)")
        elif title[0].startswith("ray::"):
            name = title[0].strip().split(".")[0]
        else:
            name = next((Path(part).name for part in title if "ray" in part), title[0])
        # An idle worker becomes an actor; a dying one is called idle again.
        if not (pid in self.titles and name == "ray::IDLE"):
            self.titles[pid] = name


def main() -> None:
    """Print the seconds of every process, the most expensive first."""
    experiment = (*sys.argv[1:], "clip")[0]
    config = compose("train", TrainConfig, [f"+exp={experiment}"])
    with connect(ClusterConfig(address="local")), tempfile.TemporaryDirectory() as scratch:
        ours(config, STEPS, f"{scratch}/first")
        accounts, began_at = Accounts(), time.time()
        first_s = ours(config, STEPS, f"{scratch}/second")["first_batch_s"]
        totals = accounts.until(began_at + first_s)
    whole = sum(totals.values())
    cpus = len(os.sched_getaffinity(0))
    print(f"{experiment}: {first_s:.1f} s to the first batch; {whole:.1f} s of {cpus} processors")
    for title, seconds in sorted(totals.items(), key=lambda item: -item[1])[:SHOWN]:
        print(f"{seconds:6.2f}  {title}")


if __name__ == "__main__":
    main()
