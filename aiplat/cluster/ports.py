"""Free ports of this machine."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from aiplat.errors import ClusterError

LOCALHOST = "127.0.0.1"


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on, all different."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((LOCALHOST, 0))
        return [int(listener.getsockname()[1]) for listener in listeners]


def is_free(port: int) -> bool:
    """Whether nobody listens on a port of this machine."""
    with socket.socket() as listener:
        # One that was in use a moment ago is free, too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True


@contextmanager
def own_range(size: int, among: range) -> Iterator[int]:
    """The first of `size` ports in a row that nobody else is given here while the block runs.

    Raises ClusterError where all of `among` are given away.
    """
    firsts = list(among[::size])
    for first in random.sample(firsts, len(firsts)):
        # Its last port is kept, so that others see that it is taken; the rest is for the block.
        with socket.socket() as mark:
            try:
                mark.bind((LOCALHOST, first + size - 1))
            except OSError:
                continue
            yield first
            return
    raise ClusterError(
        f"{len(firsts)} clusters have the ports {among.start} to {among.stop - 1} of this machine "
        "among them: end one of them first"
    )
