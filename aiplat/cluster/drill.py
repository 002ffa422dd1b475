"""Kill parts of a running training: workers, nodes, the driver; and note when and what.

The run is a job of its own, as a user starts it, on a cluster of `LocalNodes`. What it says of
itself in its log is all that is known of it here; what came of it is not judged here.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiplat.cluster.nodes import LocalNodes, Node
from aiplat.errors import ClusterError
from aiplat.training.checkpoint import COMPLETE
from aiplat.training.drill.plan import Kill
from aiplat.training.drill.recovery import Strike
from aiplat.training.logs import LogReader, parsed
from aiplat.training.saving import SAVED_AS_ASKED

_POLL_S = 0.1
# Providers of spot machines give half a minute and more; a run must not need all of it.
_NOTICE_S = 10
# A run that cannot go on without the lost node must not wait for itself to be back.
_REPLACE_AFTER_S = 30.0
# Recovering for longer is a failure of the drill; the hard bar is 120 s.
_GIVE_UP_AFTER_S = 300.0
_TOLD_LINES = 15


@dataclass(frozen=True)
class Stage:
    """A run and where it is drilled.

    command: starts the run, and starts it again. output: what the command prints is appended there.
    replacements: CPUs of the nodes that take the place of killed ones, in turn.
    """

    nodes: LocalNodes
    command: Sequence[str]
    run_dir: str
    output: Path
    replacements: Sequence[int]


def leave_alone(stage: Stage) -> None:
    """Let the run come to its end. Raises ClusterError where it fails."""
    process = _launched(stage)
    try:
        process.wait()
    finally:
        _end(process)
    _check_end(process, stage)


def disturb(
    stage: Stage, kills: Sequence[Kill], told: Callable[[str, Mapping[str, Any]], None]
) -> list[Strike]:
    """Take the run to its end through the kills, as far as it lasts.

    told: called with (`strike` | `event`, what it was). Raises ClusterError where the run fails
    or does not come back.
    """
    return _Disturbance(stage, kills, told).to_the_end()


def damage_latest(run_dir: str) -> str | None:
    """Flip bits in the largest file of the last checkpoint and name it; None: there is none."""
    folders = sorted(Path(run_dir, "checkpoints").glob("step-*"))
    whole = [folder for folder in folders if (folder / COMPLETE).exists()]
    if not whole:
        return None
    parts = [path for path in whole[-1].rglob("*") if path.is_file() and path.name != COMPLETE]
    victim = max(parts, key=lambda path: path.stat().st_size)
    with victim.open("r+b") as file:
        file.seek(victim.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    return f"{whole[-1].name}/{victim.name}"


class _Disturbance:
    def __init__(
        self, stage: Stage, kills: Sequence[Kill], told: Callable[[str, Mapping[str, Any]], None]
    ) -> None:
        self.stage, self.nodes, self.told = stage, stage.nodes, told
        self.left = list(kills)
        self.strikes: list[Strike] = []
        self.reader = LogReader(stage.run_dir)
        self.epoch = self.step = self.num_workers = 0
        self.struck_at = time.time()
        self.has_started = self.is_back = self.has_saved = False
        self.num_replaced = 0
        self.owed: list[int] = []
        self.joining: list[Node] = []

    def to_the_end(self) -> list[Strike]:
        self.process = _launched(self.stage)
        try:
            while self.process.poll() is None:
                self._look()
                self._replace()
                if self._is_due() and (blow := self._blow(self.left[0])):
                    self._strike(self.left.pop(0), blow)
                time.sleep(_POLL_S)
            self._look()
        finally:
            _end(self.process)
        _check_end(self.process, self.stage)
        return self.strikes

    def _look(self) -> None:
        """Catch up with what the run tells."""
        for event in parsed(self.reader.lines()):
            self.told("event", event)
            if event["at"] <= self.struck_at:
                continue
            if event.get("text", "").endswith(SAVED_AS_ASKED):
                self.has_saved = True
            if event["kind"] == "start":
                self.has_started, self.num_workers = True, event["world_size"]
            elif event["kind"] == "step" and self.has_started:
                self.is_back, self.step, self.epoch = True, event["step"], event["epoch"]
        if not self.is_back and time.time() - self.struck_at > _GIVE_UP_AFTER_S:
            raise ClusterError(
                f"the run did not go on within {_GIVE_UP_AFTER_S:.0f} s; {_tail(self.stage)}"
            )

    def _replace(self) -> None:
        self.joining = [node for node in self.joining if not self.nodes.is_up(node)]
        waited = time.time() - self.struck_at > _REPLACE_AFTER_S
        if self.owed and (self.is_back or waited):
            self.joining.append(self.nodes.begin(self.owed.pop(0)))

    def _is_due(self) -> bool:
        whole = not self.owed and not self.joining
        return bool(self.left) and self.is_back and whole and self.step >= self.left[0].step

    def _blow(self, kill: Kill) -> Callable[[], None] | None:
        """What carries out the kill; None while there is nobody to be killed."""
        if kill.kind == "driver":
            return partial(_end, self.process)
        # A group that is being started anew, because it grows, has no workers for a moment.
        pids = self.nodes.train_workers()
        if not pids:
            return None
        if kill.kind in ("node", "preemption"):
            node = self._chosen_node(kill.victim)
            if kill.kind == "preemption":
                self._give_notice(node)
            return partial(self._kill_node, node)
        return partial(os.kill, pids[kill.victim % len(pids)], signal.SIGKILL)

    def _strike(self, kill: Kill, blow: Callable[[], None]) -> None:
        self.struck_at, back_at = time.time(), None
        blow()
        damaged = damage_latest(self.stage.run_dir) if kill.corrupt else None
        if kill.kind == "driver":
            self.process, back_at = _launched(self.stage), time.time()
        strike = Strike(
            kill, self.struck_at, self.step, self.epoch, self.num_workers, back_at, damaged
        )
        self.has_started = self.is_back = False
        self.strikes.append(strike)
        self.told("strike", {"strike": strike})

    def _give_notice(self, node: Node) -> None:
        """Announce that a node will be taken away; return when the run saved, or time is up."""
        self.has_saved = False
        self.nodes.give_notice(node, _NOTICE_S)
        until = time.monotonic() + _NOTICE_S
        while time.monotonic() < until and self.process.poll() is None and not self.has_saved:
            self._look()
            time.sleep(_POLL_S)

    def _chosen_node(self, victim: int) -> Node:
        working = [node for node in self.nodes.nodes if node.train_workers()] or self.nodes.nodes
        return working[victim % len(working)]

    def _kill_node(self, node: Node) -> None:
        """Kill a node, and owe the cluster another one."""
        self.nodes.kill(node)
        replacements = self.stage.replacements
        self.owed.append(replacements[self.num_replaced % len(replacements)])
        self.num_replaced += 1


def _launched(stage: Stage) -> subprocess.Popen[bytes]:
    with stage.output.open("ab") as output:
        return subprocess.Popen(  # noqa: S603 - our own command
            list(stage.command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # A process group of its own, that can be killed as one.
            start_new_session=True,
        )


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _check_end(process: subprocess.Popen[bytes], stage: Stage) -> None:
    if process.returncode != 0:
        raise ClusterError(f"the run ended with status {process.returncode}; {_tail(stage)}")


def _tail(stage: Stage) -> str:
    lines = stage.output.read_text(errors="replace").splitlines()[-_TOLD_LINES:]
    return "\n".join([f"it said last ({stage.output}):", *lines])
