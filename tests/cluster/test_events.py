"""What workers tell reaches the one who watches, also what they say while they die."""

import ctypes
import os
import time
from typing import Any

import pytest

from aiplat.cluster.session import Session

# Ray uses deprecated parts of its own dependencies.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def crash(mailbox: Any) -> None:
    """A worker that prints, writes beneath Python, is silent for a while and then crashes."""
    from aiplat.cluster.events import Sender
    from aiplat.cluster.output import forwarded

    sender = Sender(mailbox, {"rank": 3, "group": "a"})
    with forwarded(sender.send):
        print("first")  # noqa: T201
        print("second")  # noqa: T201
        os.write(2, b"from below\n")
        time.sleep(1.0)
        ctypes.string_at(0)


def test_nothing_of_what_a_worker_wrote_before_it_crashed_is_missing(cluster: Session) -> None:
    import ray

    from aiplat.cluster.events import watching
    from aiplat.cluster.last_words import last_words

    events: list[dict[str, Any]] = []
    with watching(events.append) as mailbox, last_words(mailbox) as ask:
        with pytest.raises(ray.exceptions.WorkerCrashedError):
            ray.get(ray.remote(crash).options(num_cpus=0, max_retries=0).remote(mailbox))
        # Told while it lived, though nothing came after them.
        alive = [event.get("text") for event in events]
        ask()
    assert alive == [None, "first", "second", "from below"]
    said = [event["text"] for event in events[4:]]
    assert "Segmentation fault" in "\n".join(said)
    assert "ctypes" in "\n".join(said)
    assert {(event["rank"], event["group"]) for event in events} == {(3, "a")}
