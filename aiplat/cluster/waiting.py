"""What a worker group waits for, nodes that are made or others' work, as events of the run."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from aiplat.cluster.group import WorkerGroup
from aiplat.cluster.growth import NodeGroup
from aiplat.cluster.status import ClusterState, NodeCount, cluster_state
from aiplat.errors import ClusterError

Event = dict[str, Any]

_LOOK_EVERY_S = 2.0
# Said again though nothing changed, so that a log that stands still means something.
_SAY_EVERY_S = 30.0
# What a job held that has just ended counts as taken for a moment more.
_PATIENCE_S = 10.0


class Waiting:
    """Follows a group that is to start: until its workers run, `text` says what it waits for.

    groups: the node types of the cluster, where they are known.
    """

    def __init__(self, group: WorkerGroup, groups: Sequence[NodeGroup] = ()) -> None:
        self.group = group
        # Other nodes may be on their way for other jobs, or to read the dataset.
        self.others = {each.name for each in groups if not each.room(group.resources)}
        self.begin()

    def begin(self) -> None:
        """Call before every attempt to start it."""
        self.began = time.monotonic()
        self.num_started = 0

    def follow(self, event: Event) -> None:
        """Count the workers that run."""
        if event["kind"] == "started":
            self.num_started += 1

    @property
    def is_over(self) -> bool:
        """Whether enough workers run for the group to work."""
        return self.num_started >= self.group.least

    def text(self, state: ClusterState) -> str | None:
        """What the group waits for.

        None where no node is on its way or was refused, and it is not for want of room either.
        """
        waited = time.monotonic() - self.began
        why = self._nodes(state)
        if not why and waited >= _PATIENCE_S and self.group.resources in state.without_room:
            why = f"the cluster has no room now: {_used(state.in_use)} in use"
        if not why:
            return None
        kind = "GPU workers" if self.group.use_gpu else "workers"
        missing = max(0, self.group.least - self.num_started)
        return f"{missing} of {self.group.least} {kind} pending: {why}, {waited:.0f} s"

    def _nodes(self, state: ClusterState) -> str:
        """Those that are on their way and those that were refused."""
        coming = {
            name: count
            for name, count in state.nodes.items()
            if name not in self.others and (count.pending or count.failed)
        }
        return "; ".join(f"node type {name}{_told(count)}" for name, count in coming.items())


def _used(in_use: Mapping[str, tuple[float, float]]) -> str:
    return ", ".join(f"{used:g} of {total:g} {name}s" for name, (used, total) in in_use.items())


def _told(count: NodeCount) -> str:
    launching = f", launching {count.pending}" if count.pending else ""
    there = f", {count.running} there" if count.running else ""
    failed = f", {count.failed} launches failed" if count.failed else ""
    return f"{launching}{there}{failed}"


@contextmanager
def telling(waiting: Waiting, watch: Callable[[Event], None]) -> Iterator[None]:
    """Within the block, `watch` gets an event `waiting` whenever what is waited for changes."""
    address, done = ray.get_runtime_context().gcs_address, threading.Event()

    def tell() -> None:
        said, said_at = "", 0.0
        while not done.wait(_LOOK_EVERY_S) and not waiting.is_over:
            try:
                text = waiting.text(cluster_state(address))
            except ClusterError:
                # The run itself will notice, and say more.
                continue
            now, what = time.monotonic(), (text or "").rpartition(",")[0]
            if text and (what != said or now - said_at > _SAY_EVERY_S):
                said, said_at = what, now
                watch({"at": time.time(), "kind": "waiting", "text": text})

    thread = threading.Thread(target=tell, name="run-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
