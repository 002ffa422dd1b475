"""How a run's events travel from its workers to the process that watches it.

Workers hand over without waiting; an actor on the watcher's node keeps what is not fetched yet.
"""

import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aiplat.cluster.output import Event, OutputFiles, last_words_of, own_files

__all__ = ["Event", "Mailbox", "Sender", "origin", "watching"]

# A watcher that stopped fetching must not fill the memory; the oldest events go first.
_MAX_WAITING = 100_000
_POLL_S = 0.25
_FLUSH_S = 0.2
_PATIENT = ("step", "log")


class Mailbox:
    """Where events wait; an actor on the node of who fetches them."""

    def __init__(self, node: str) -> None:
        self.node = node
        self.waiting: deque[Event] = deque()
        self.num_lost = 0

    def put(self, events: list[Event]) -> None:
        """Take events in."""
        for event in events:
            self.register(event)
        self.waiting.extend(events)
        while len(self.waiting) > _MAX_WAITING:
            self.waiting.popleft()
            self.num_lost += 1

    def take(self) -> list[Event]:
        """Hand all events over."""
        taken = list(self.waiting)
        self.waiting.clear()
        if self.num_lost:
            text = f"{self.num_lost} events are lost: the driver could not keep up with them"
            taken.insert(0, {"at": time.time(), "kind": "note", "text": text})
            self.num_lost = 0
        return taken

    def register(self, event: Event) -> None:
        """Take out of an event what is not for whoever watches: where a worker's output lies."""
        for name in ("files", "end"):
            event.pop(name, None)


class RunMailbox(Mailbox):
    """The mailbox of one run: it knows what its latest workers wrote before they died."""

    def __init__(self, node: str) -> None:
        super().__init__(node)
        self.workers: dict[int, Event] = {}

    def read_last_words(self) -> list[Event]:
        """Take in what the latest workers of this node wrote at last; those of others come back."""
        workers = list(self.workers.values())
        for worker in workers:
            if worker["node"] == self.node:
                self.put(last_words_of(worker))
        return [worker for worker in workers if worker["node"] != self.node]

    def register(self, event: Event) -> None:
        """See `Mailbox`."""
        if event["kind"] == "worker":
            self._welcome(event)
        elif "end" in event:
            self._note_read(event)

    def _welcome(self, worker: Event) -> None:
        others = self.workers.values()
        if any(other["group"] != worker["group"] for other in others):
            self.workers = {}
        self.workers[worker["rank"]] = {**worker, "files": worker.pop("files")}

    def _note_read(self, event: Event) -> None:
        """Remember how far a worker's files were read while it lived."""
        end, worker = event.pop("end"), self.workers.get(event["rank"])
        if worker is not None and worker["group"] == event["group"]:
            worker["files"][event["file"]] = end


class Sender:
    """A worker's end: collects events for a moment, then sends them together.

    Each gets the time by this machine's clock, and `origin`: who sends. What the process writes
    below Python is sent along.
    """

    def __init__(self, mailbox: Any, origin: Event) -> None:
        self.mailbox = mailbox
        self.origin = origin
        self.collected: list[Event] = []
        # Prefetch threads print, too; and what is printed while an object dies may come in between.
        self.lock = threading.RLock()
        self.due = threading.Event()
        self.is_closed = False
        self.files = OutputFiles(own_files())
        self.send({**_whereabouts(), "kind": "worker", "files": dict(self.files.offsets)})
        self.thread = threading.Thread(target=self._flush_often, name="run-events", daemon=True)
        self.thread.start()

    def send(self, event: Event) -> None:
        """Queue an event; steps and lines of output may wait for company, the rest goes at once."""
        with self.lock:
            self.collected.append({"at": time.time(), **self.origin, **event})
        if event["kind"] not in _PATIENT:
            self.due.set()

    def close(self) -> None:
        """Return once everything sent has arrived."""
        self.is_closed = True
        self.due.set()
        self.thread.join()
        ray.get(self.mailbox.put.remote([]))

    def _flush_often(self) -> None:
        while not self.is_closed:
            self.due.wait(_FLUSH_S)
            self.due.clear()
            self._flush()
        self._flush()

    def _flush(self) -> None:
        for event in self.files.read():
            self.send(event)
        with self.lock:
            collected, self.collected = self.collected, []
        if collected:
            self.mailbox.put.remote(collected)


def origin() -> Event:
    """Which worker of a training run this process is: its rank, and which of the run's groups.

    Workers that start and stop together share a placement group.
    """
    # A process that only keeps events need not wait for Ray Train to be imported.
    from ray import train

    group = get_current_placement_group()
    return {
        "rank": train.get_context().get_world_rank(),
        "group": "" if group is None else group.id.hex(),
    }


def _whereabouts() -> Event:
    node = ray.get_runtime_context().get_node_id()
    return {"host": socket.gethostname(), "node": node, "pid": os.getpid()}


@contextmanager
def watching(watch: Callable[[Event], None], kind: type[Mailbox] = RunMailbox) -> Iterator[Any]:
    """Yield a mailbox of a kind; what is put into it reaches `watch`, in order, on a thread here.

    A fault of `watch` ends the watching and is raised when the block ends: the run itself goes on.
    """
    node = ray.get_runtime_context().get_node_id()
    here = NodeAffinitySchedulingStrategy(node, soft=False)
    mailbox = ray.remote(kind).options(num_cpus=0, scheduling_strategy=here).remote(node)
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
