"""Kills, against a stand-in for a run: processes that die and go on for real, without Ray."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from aiplat.cluster.drill import Stage, damage_latest, disturb, leave_alone
from aiplat.cluster.nodes import LocalNodes, Node
from aiplat.cluster.ports import free_ports
from aiplat.cluster.processes import descendants
from aiplat.errors import ClusterError
from aiplat.training.checkpoint import COMPLETE
from aiplat.training.drill.plan import Kill
from aiplat.training.drill.recovery import recoveries
from aiplat.training.logs import read_events

# A run that remembers its step in a file, as a checkpoint would; `lost` tells it that a node is
# gone. It does not end before everything was killed.
RUN = """
import sys, time
from pathlib import Path
from aiplat.training.run_log import RunLog
run_dir = sys.argv[1]
position = Path(run_dir, "position")
step = int(position.read_text()) if position.exists() else 0
with RunLog(run_dir) as log:
    log.add({"kind": "start", "step": step, "world_size": 2})
    while step < 40 or not Path(run_dir, "enough").exists():
        step += 1
        position.with_suffix(".draft").write_text(str(step))
        position.with_suffix(".draft").replace(position)
        if Path(run_dir, "lost").exists():
            Path(run_dir, "lost").unlink()
            log.add({"kind": "note", "text": "lost a node"})
            log.add({"kind": "start", "step": step, "world_size": 1})
        log.add({"kind": "step", "step": step, "epoch": 1, "loss": 1 / step})
        time.sleep(0.02)
"""


class SleepingNodes(LocalNodes):
    """Nodes that are one sleeping process each; those that join are there at once.

    run_dir: of the run that notices when one is killed.
    """

    def __init__(self, num_nodes: int, run_dir: Path) -> None:
        self.nodes = []
        self.run_dir = run_dir
        self.processes: list[subprocess.Popen[bytes]] = []
        for _ in range(num_nodes):
            self.begin(2)
        self.pids = [process.pid for process in self.processes]

    def begin(self, num_cpus: int) -> Node:
        process = subprocess.Popen(["sleep", "60"])
        self.processes.append(process)
        self.nodes.append(Node(len(self.processes), num_cpus, process.pid))
        return self.nodes[-1]

    def is_up(self, node: Node) -> bool:
        return True

    def train_workers(self) -> list[int]:
        return self.pids

    def kill(self, node: Node) -> None:
        self.processes[node.number - 1].kill()
        self.nodes.remove(node)
        (self.run_dir / "lost").touch()


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[SleepingNodes]:
    sleeping = SleepingNodes(2, tmp_path / "run")
    yield sleeping
    for process in sleeping.processes:
        process.kill()
        process.wait()


def stage(nodes: LocalNodes, tmp_path: Path, script: str = RUN) -> Stage:
    run_dir = tmp_path / "run"
    run_dir.mkdir(exist_ok=True)
    command = [sys.executable, "-c", script, str(run_dir)]
    return Stage(nodes, command, str(run_dir), tmp_path / "output.txt", replacements=[1])


def quiet(kind: str, told: Mapping[str, Any]) -> None:
    """Nobody listens."""


def test_a_run_whose_driver_and_node_are_killed_is_taken_to_its_end(
    nodes: SleepingNodes, tmp_path: Path
) -> None:
    kills = [Kill(1, "driver", 5, 0), Kill(2, "node", 15, 3), Kill(3, "driver", 20, 0)]
    first, second = nodes.nodes

    def told(kind: str, what: Mapping[str, Any]) -> None:
        if kind == "strike" and what["strike"].kill == kills[-1]:
            (tmp_path / "run" / "enough").touch()

    strikes = disturb(stage(nodes, tmp_path), kills, told)
    assert [strike.kill for strike in strikes] == kills
    assert all(strike.step >= strike.kill.step for strike in strikes)
    # 3 modulo two nodes is the second; a smaller one took its place.
    assert first in nodes.nodes
    assert second not in nodes.nodes
    assert [node.num_cpus for node in nodes.nodes] == [2, 1]
    events = list(read_events(str(tmp_path / "run")))
    assert sum(event["kind"] == "start" for event in events) == 4
    found = recoveries(strikes, events)
    assert all(recovery and 0 < recovery.detect <= recovery.total for recovery in found)
    assert [recovery and recovery.num_workers for recovery in found] == [2, 1, 2]


def test_a_run_that_fails_by_itself_fails_the_drill_with_its_last_words(
    nodes: SleepingNodes, tmp_path: Path
) -> None:
    broken = stage(nodes, tmp_path, "import sys; sys.exit('no such column: label')")
    with pytest.raises(ClusterError, match=r"ended with status 1.*\n.*no such column: label"):
        disturb(broken, [], quiet)
    with pytest.raises(ClusterError, match="no such column: label"):
        leave_alone(broken)


def test_nobody_is_killed_where_no_worker_is(nodes: SleepingNodes, tmp_path: Path) -> None:
    whole = stage(nodes, tmp_path)
    (tmp_path / "run" / "enough").touch()
    nodes.pids = []
    assert disturb(whole, [Kill(1, "worker", 2, 0), Kill(2, "node", 3, 0)], quiet) == []


def test_the_worker_that_the_plan_names_is_killed(nodes: SleepingNodes, tmp_path: Path) -> None:
    workers = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
    nodes.pids = [worker.pid for worker in workers]
    whole = stage(nodes, tmp_path)
    (tmp_path / "run" / "enough").touch()
    (strike,) = disturb(whole, [Kill(1, "worker", 2, victim=7)], quiet)
    assert strike.kill.kind == "worker"
    assert workers[1].wait() == -signal.SIGKILL
    assert [workers[place].poll() for place in (0, 2)] == [None, None]
    for worker in workers:
        worker.kill()
        worker.wait()


def test_the_latest_whole_checkpoint_is_damaged_and_no_other(tmp_path: Path) -> None:
    assert damage_latest(str(tmp_path)) is None
    for step in (10, 20, 30):
        folder = tmp_path / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "small").write_bytes(b"ab")
        (folder / "large").write_bytes(b"abcdef")
        if step < 30:
            (folder / COMPLETE).write_bytes(b"much more than the others")
    assert damage_latest(str(tmp_path)) == "step-00000020/large"
    changed = [path for path in tmp_path.rglob("large") if path.read_bytes() != b"abcdef"]
    assert [path.parent.name for path in changed] == ["step-00000020"]
    assert {path.read_bytes() for path in tmp_path.rglob("small")} == {b"ab"}


def programs(pids: list[int]) -> list[str]:
    titles = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    return sorted(title.split(b"\0")[0].decode() for title in titles)


def test_all_descendants_of_a_process_are_found() -> None:
    shell = subprocess.Popen(["bash", "-c", "bash -c 'sleep 61; true' & sleep 62 & wait"])
    try:
        until = time.monotonic() + 20
        while programs(descendants(shell.pid)) != ["bash", "sleep", "sleep"]:
            assert time.monotonic() < until
            time.sleep(0.01)
        found = descendants(shell.pid)
        assert Node(1, 2, shell.pid).processes() == [shell.pid, *found]
        assert Node(1, 2, shell.pid).train_workers() == []
    finally:
        for pid in [shell.pid, *descendants(shell.pid)]:
            subprocess.run(["kill", "-9", str(pid)], check=True)
        shell.wait()


def test_ports_that_are_handed_out_together_differ() -> None:
    assert len(set(free_ports(50))) == 50
