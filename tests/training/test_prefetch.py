import threading
import time
from collections.abc import Iterator

import pytest
import torch

from aiplat.training.prefetch import Prefetch


def prefetch_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * 10

    with Prefetch(slow_at_first, range(20), num_ahead=5, num_threads=3) as results:
        assert list(results) == [item * 10 for item in range(20)]


def test_only_so_many_items_are_prepared_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    with Prefetch(str, items(), num_ahead=3) as results:
        assert taken == [0, 1, 2], "work begins before anyone asks"
        assert next(results) == "0"
        assert taken == [0, 1, 2, 3]


def test_a_fault_is_raised_in_its_place_and_ends_the_work() -> None:
    results = Prefetch(lambda item: 10 // item, [5, 2, 0, 1])
    assert [next(results), next(results)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    assert not prefetch_threads()


def test_closing_early_leaves_no_thread() -> None:
    results = Prefetch(lambda item: item, iter(range(1_000_000)), num_threads=2)
    assert next(results) == 0
    assert len(prefetch_threads()) == 2
    results.close()
    assert not prefetch_threads()


def test_its_threads_compute_on_one_core_and_leave_the_others_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with Prefetch(lambda _: torch.get_num_threads(), range(4), num_threads=2) as inside:
            assert set(inside) == {1}
        assert torch.get_num_threads() == 2
        seen: list[int] = []
        other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        other.start()
        other.join()
        assert seen == [2]
    finally:
        torch.set_num_threads(before)
