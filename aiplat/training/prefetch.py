"""Prepare the next batches on threads while the model computes on the present one."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

import torch

T = TypeVar("T")
U = TypeVar("U")


class Prefetch(Generic[T, U]):
    """`prepare(item)` of each item, in order; up to `num_ahead` results are made before asked for.

    Work begins at once. What `prepare` raises is raised in the place of its result. `close` returns
    when no thread is left; a `with` block does it at its end.
    """

    def __init__(
        self,
        prepare: Callable[[T], U],
        items: Iterable[T],
        num_ahead: int = 4,
        num_threads: int = 1,
    ) -> None:
        self.prepare = prepare
        self.items = iter(items)
        self.pool = _single_core_pool(num_threads)
        self.waiting: deque[Future[U]] = deque()
        for item in islice(self.items, num_ahead):
            self.waiting.append(self.pool.submit(prepare, item))

    def __iter__(self) -> Iterator[U]:
        return self

    def __next__(self) -> U:
        for item in islice(self.items, 1):
            self.waiting.append(self.pool.submit(self.prepare, item))
        if not self.waiting:
            self.close()
            raise StopIteration
        try:
            return self.waiting.popleft().result()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop what is not begun and wait for what is."""
        self.items = iter(())
        self.waiting.clear()
        self.pool.shutdown(wait=True, cancel_futures=True)

    def __enter__(self) -> "Prefetch[T, U]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _single_core_pool(num_threads: int) -> ThreadPoolExecutor:
    """Threads whose tensor operations do not start a pool of OpenMP threads each."""
    started = threading.Barrier(num_threads + 1)

    def start() -> None:
        torch.set_num_threads(1)
        # A thread takes the limit over when it first asks, not when it is set.
        torch.get_num_threads()
        started.wait()

    pool = ThreadPoolExecutor(num_threads, thread_name_prefix="prefetch", initializer=start)
    for _ in range(num_threads):
        pool.submit(int)
    started.wait()
    # The limit holds for the calling thread, but it is also what threads born later begin with.
    torch.set_num_threads(torch.get_num_threads())
    return pool
