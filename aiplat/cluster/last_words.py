"""What workers wrote before they died: a trace of the crash, most often.

The files that Ray gave them for their output are still there, on their nodes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from aiplat.cluster.output import Event, last_words_of

_PATIENCE_S = 10.0


@contextmanager
def last_words(mailbox: Any) -> Iterator[Callable[[], None]]:
    """Yield what asks for all that the latest workers wrote before they died.

    It arrives as events, while other work goes on; the block's end waits a moment for it.
    """
    asked: list[Any] = []

    def ask() -> None:
        # Starting a process on each node takes seconds: the mailbox reads what lies beside it.
        for worker in ray.get(mailbox.read_last_words.remote()):
            there = NodeAffinitySchedulingStrategy(worker["node"], soft=False)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
            asked.append(ray.remote(_send_last_words).options(**options).remote(mailbox, worker))

    try:
        yield ask
    finally:
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=_PATIENCE_S)


def _send_last_words(mailbox: Any, worker: Event) -> None:
    ray.get(mailbox.put.remote(last_words_of(worker)))
