"""An endpoint under steady load: requests come when they come, whether answers keep up or not.

Starts `serve` with keys and metering on, sends photos of about 100 KB at random moments (Poisson),
and tells how long answers took, how even the ten-second windows were, what the client itself cost,
and whether the usage records say the same. Client and endpoint share the machine. Needs a model of
images in the registry, and better one that `optimize` has chosen an engine for:

    python -m aiplat.jobs.optimize model=resnet50@champion threads=2
    python benchmarks/serve_slo.py resnet50@champion [requests a second, 50] [seconds, 300]

STORAGE says where the registry is (storage). Further settings of `serve` may follow.
"""

import asyncio
import json
import random
import resource
import statistics
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np

from benchmarks.endpoint import (
    MAX_OPEN,
    NUM_PHOTOS,
    URL,
    WARM_UP_S,
    WINDOW_S,
    arguments,
    job,
    make_key,
    name_of,
    photo,
    serving,
    unevenness,
)


@dataclass
class Sent:
    """One request. due_at: when it had to be sent, from the beginning; seconds: from then on."""

    due_at: float
    seconds: float
    status: int


async def load(model: str, key: str, rate: float, seconds: float) -> list[Sent]:
    """Send requests at random moments, `rate` a second on average."""
    photos = [photo(seed) for seed in range(NUM_PHOTOS)]
    print(f"photos of {statistics.mean(map(len, photos)) / 1000:.0f} KB", flush=True)
    chance, sent = random.Random(0), list[Sent]()
    limits = httpx.Limits(max_connections=MAX_OPEN, max_keepalive_connections=MAX_OPEN)
    async with httpx.AsyncClient(limits=limits, timeout=30, trust_env=False) as client:
        began_at, due_at = time.perf_counter(), 0.0
        asking: set[asyncio.Task[None]] = set()

        async def ask(due_at: float) -> None:
            try:
                response = await client.post(
                    f"{URL}/v1/models/{model}:predict",
                    files={"image": chance.choice(photos)},
                    headers={"X-API-Key": key},
                )
                status = response.status_code
            except httpx.HTTPError:
                status = 0
            sent.append(Sent(due_at, time.perf_counter() - began_at - due_at, status))

        while due_at < seconds:
            await asyncio.sleep(max(0.0, began_at + due_at - time.perf_counter()))
            asking.add(task := asyncio.create_task(ask(due_at)))
            task.add_done_callback(asking.discard)
            due_at += chance.expovariate(rate)
        await asyncio.gather(*asking)
    return sent


def report(sent: list[Sent], seconds: float, client_s: float) -> None:
    """Print what came of the requests."""
    statuses = Counter(each.status for each in sent)
    times = np.array([each.seconds for each in sent if each.status == 200]) * 1000
    quantiles = {share: np.percentile(times, share) for share in (50, 95, 99, 99.9)}
    shown = ", ".join(f"p{share} {value:.1f} ms" for share, value in quantiles.items())
    print(f"{len(sent)} requests, by status {dict(statuses)}")
    print(f"answers: {shown}, at most {times.max():.1f} ms")
    spread = unevenness([(each.due_at, each.seconds) for each in sent], seconds)
    print(f"means of {WINDOW_S}-second windows vary by {spread:.1%} (coefficient of variation)")
    print(f"the client took {client_s / seconds:.2f} of a core")


def main() -> None:
    """Serve, ask, and compare with the books."""
    reference, (rate, seconds), settings = arguments(50, 300)
    model = name_of(reference)
    key = make_key("serve_slo")
    since = f"since={datetime.now(UTC):%Y-%m-%dT%H:%M}"
    with serving(reference, *settings):
        asyncio.run(load(model, key, rate, WARM_UP_S))
        before = resource.getrusage(resource.RUSAGE_SELF)
        sent = asyncio.run(load(model, key, rate, seconds))
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report(sent, seconds, spent_s)
    told = subprocess.run(job("usage", since, "format=json"), check=True, stdout=subprocess.PIPE)
    books: dict[str, Any] = json.loads(told.stdout)
    prefix = key.split("_")[1]
    charges = [charge for charge in books["charges"] if charge["key"] == prefix]
    answered = sum(charge["requests"] for charge in charges)
    compute_s = sum(charge["compute_s"] for charge in charges)
    print(
        f"usage records: {answered} answered, {compute_s / max(answered, 1) * 1000:.1f} ms of the"
    )
    print(f"  model each; books since the start: {books['reconciliation']}")


if __name__ == "__main__":
    main()
