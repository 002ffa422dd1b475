"""A gRPC gateway before an HTTP endpoint, in a thread of this process."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiplat.serving.open_inference.gateway import Gateway, GatewaySettings

SECRET = "of-the-gateway"  # noqa: S105


@contextmanager
def calling(
    url: str, max_bytes: int = 16_000_000, timeout_s: float = 30.0, port: int = 0
) -> Iterator[str]:
    """The address of this machine at which the endpoint's gateway answers meanwhile."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    gateway = Gateway(GatewaySettings("127.0.0.1", port, url, SECRET, max_bytes, timeout_s))
    try:
        taken = asyncio.run_coroutine_threadsafe(gateway.start(), loop).result()
        yield f"127.0.0.1:{taken}"
        asyncio.run_coroutine_threadsafe(gateway.stop(0), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
