"""What workers wrote before they died: a trace of the crash, most often.

The files that Ray gave them for their output are still there, on their nodes.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aiplat.cluster.output import Event, OutputFiles

_PATIENCE_S = 5.0


@contextmanager
def last_words(mailbox: Any) -> Iterator[Callable[[], None]]:
    """Yield what asks for all that the latest workers wrote before they died.

    It arrives as events, while other work goes on; the block's end waits a moment for it.
    """
    asked: list[Any] = []

    def ask() -> None:
        for worker in ray.get(mailbox.latest_workers.remote()):
            there = NodeAffinitySchedulingStrategy(worker["node"], soft=False)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
            asked.append(ray.remote(_send_last_words).options(**options).remote(mailbox, worker))

    try:
        yield ask
    finally:
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=_PATIENCE_S)


def _send_last_words(mailbox: Any, worker: Event) -> None:
    """Runs on the node of a worker that is gone."""
    origin = {"at": time.time(), "rank": worker["rank"], "group": worker["group"]}
    events = [{**origin, **event} for event in OutputFiles(worker["files"]).read(is_complete=True)]
    ray.get(mailbox.put.remote(events))
