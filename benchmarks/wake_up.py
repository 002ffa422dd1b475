"""A model that was let go, and a herd of requests that wants it back.

Starts `serve` with `serve.autoscaling.min_replicas=0`, waits until no replica is left, sends all
requests in the same moment, and tells how they were answered and how long the first answer took.
Several times over, since each time starts from zero.

    python benchmarks/wake_up.py resnet50@champion [requests, 200] [times, 3]

STORAGE says where the registry is (storage). Further settings of `serve` may follow.
"""

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.endpoint import URL, arguments, make_key, name_of, photo, serving

IDLE_S = 5
TOKEN = Path("~/.ray/auth_token").expanduser()
# Ray asks for it where there is one.
HEADERS = {"Authorization": f"Bearer {TOKEN.read_text().strip()}"} if TOKEN.exists() else {}
DASHBOARD_PORT = 8769
DASHBOARD = f"http://127.0.0.1:{DASHBOARD_PORT}/api/serve/applications/"
PATIENCE_S = 120


@dataclass
class Reply:
    """What came of one request. again_s: what it says of when to come again."""

    status: int
    seconds: float
    again_s: str | None


def replicas(model: str) -> int:
    """How many the model has now."""
    response = httpx.get(DASHBOARD, headers=HEADERS, trust_env=False, timeout=10)
    told: dict[str, Any] = response.raise_for_status().json()
    deployment = told["applications"]["aiplat"]["deployments"][f"model-{model}"]
    return len(deployment["replicas"])


async def herd(model: str, key: str, count: int) -> list[Reply]:
    """Ask `count` times at once."""
    limits = httpx.Limits(max_connections=count)
    file = photo(0)
    async with httpx.AsyncClient(limits=limits, timeout=PATIENCE_S, trust_env=False) as client:

        async def ask() -> Reply:
            began_at = time.perf_counter()
            try:
                response = await client.post(
                    f"{URL}/v1/models/{model}:predict",
                    files={"image": file},
                    headers={"X-API-Key": key},
                )
            except httpx.HTTPError as error:
                print(f"  {error!r}")
                return Reply(0, time.perf_counter() - began_at, None)
            return Reply(
                response.status_code,
                time.perf_counter() - began_at,
                response.headers.get("Retry-After"),
            )

        return await asyncio.gather(*(ask() for _ in range(count)))


def once(model: str, key: str, count: int) -> float:
    """Let the model go, ask, and tell. Returns the seconds to the first answer."""
    while replicas(model):
        time.sleep(0.5)
    time.sleep(2)
    replies = asyncio.run(herd(model, key, count))
    statuses = Counter(reply.status for reply in replies)
    silent = sum(reply.status == 503 and reply.again_s is None for reply in replies)
    answered = sorted(reply.seconds for reply in replies if reply.status == 200)
    if not answered:
        raise SystemExit(f"none was answered: {dict(statuses)}")
    print(
        f"{dict(statuses)}, {silent} of the 503 without Retry-After; first answer after "
        f"{answered[0]:.2f} s, last after {answered[-1]:.2f} s, slowest reply of all "
        f"{max(reply.seconds for reply in replies):.2f} s",
        flush=True,
    )
    return answered[0]


def main() -> None:
    """Serve, and wake the model again and again."""
    reference, (count, times), settings = arguments(200, 3)
    model = name_of(reference)
    key = make_key("wake_up")
    idle = ["serve.autoscaling.min_replicas=0", f"serve.autoscaling.downscale_delay_s={IDLE_S}"]
    with serving(reference, f"cluster.dashboard_port={DASHBOARD_PORT}", *idle, *settings):
        first = [once(model, key, int(count)) for _ in range(int(times))]
        print(f"first answer after {statistics.median(first):.2f} s (median of {times:g})")


if __name__ == "__main__":
    main()
