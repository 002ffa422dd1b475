"""How a run's events travel from its workers to the process that watches it.

Workers hand over without waiting; an actor on the watcher's node keeps what is not fetched yet.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray import train
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Event = dict[str, Any]

# A watcher that stopped fetching must not fill the memory; the oldest events go first.
_MAX_WAITING = 100_000
_POLL_S = 0.25
_FLUSH_S = 0.2
_PATIENT = ("step", "log")


class _Mailbox:
    def __init__(self) -> None:
        self.waiting: deque[Event] = deque(maxlen=_MAX_WAITING)

    def put(self, events: list[Event]) -> None:
        self.waiting.extend(events)

    def take(self) -> list[Event]:
        taken = list(self.waiting)
        self.waiting.clear()
        return taken


class Sender:
    """A worker's end: collects events for a moment, then sends them together.

    Each gets the time by this machine's clock, and `origin`: who sends.
    """

    def __init__(self, mailbox: Any, origin: Event) -> None:
        self.mailbox = mailbox
        self.origin = origin
        self.collected: list[Event] = []
        self.sent_at = 0.0
        # Prefetch threads print, too.
        self.lock = threading.Lock()

    def send(self, event: Event) -> None:
        """Queue an event; steps and lines of output may wait for company, the rest goes at once."""
        with self.lock:
            self.collected.append({"at": time.time(), **self.origin, **event})
            if event["kind"] not in _PATIENT or time.monotonic() - self.sent_at > _FLUSH_S:
                self.mailbox.put.remote(self.collected)
                self.collected = []
                self.sent_at = time.monotonic()

    def close(self) -> None:
        """Return once everything sent has arrived."""
        ray.get(self.mailbox.put.remote(self.collected))
        self.collected = []


def origin() -> Event:
    """Which worker of a training run this process is: its rank, and which of the run's groups.

    Workers that stop and start together share a placement group.
    """
    group = get_current_placement_group()
    return {
        "rank": train.get_context().get_world_rank(),
        "group": "" if group is None else group.id.hex(),
    }


@contextmanager
def watching(watch: Callable[[Event], None]) -> Iterator[Any]:
    """Yield a mailbox; what is put into it reaches `watch`, in order, on a thread of this process.

    A fault of `watch` ends the watching and is raised when the block ends: the run itself goes on.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    mailbox = ray.remote(_Mailbox).options(num_cpus=0, scheduling_strategy=here).remote()
    done = threading.Event()
    faults: list[Exception] = []

    def forward() -> None:
        last = False
        while not last:
            # Looked at before fetching, so that what was put before the end is still fetched.
            last = done.wait(_POLL_S)
            try:
                for event in ray.get(mailbox.take.remote()):
                    watch(event)
            except Exception as error:
                faults.append(error)
                return

    thread = threading.Thread(target=forward, name="run-events", daemon=True)
    thread.start()
    try:
        yield mailbox
    finally:
        done.set()
        thread.join()
        ray.kill(mailbox)
    if faults:
        raise faults[0]
