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
import io
import json
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import numpy as np
from PIL import Image

STORAGE = os.environ.get("STORAGE", "storage")
PORT = 8765
URL = f"http://127.0.0.1:{PORT}"
WARM_UP_S = 10
WINDOW_S = 10
MAX_OPEN = 200
NUM_PHOTOS = 20


@dataclass
class Sent:
    """One request. due_at: when it had to be sent, from the beginning; seconds: from then on."""

    due_at: float
    seconds: float
    status: int


def photo(seed: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A JPEG file of about 100 KB."""
    noise = np.random.default_rng(seed)
    coarse = Image.fromarray(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = noise.integers(-12, 13, smooth.shape)
    stream = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=78)
    return stream.getvalue()


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


def job(name: str, *arguments: str) -> list[str]:
    """The command of a job over the same storage."""
    return [sys.executable, "-m", f"aiplat.jobs.{name}", *arguments, f"storage={STORAGE}"]


def make_key(owner: str) -> str:
    """An API key that is good for a day."""
    made = subprocess.run(
        job("keys", "create", f"owner={owner}", "expires=1d", "quiet=true"),
        check=True,
        stdout=subprocess.PIPE,
    )
    return made.stdout.decode().strip()


def wait_until_ready(server: "subprocess.Popen[bytes]") -> None:
    """Return when the endpoint answers."""
    while server.poll() is None:
        try:
            if httpx.get(f"{URL}/readyz", trust_env=False, timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(1)
    raise SystemExit("the endpoint did not start")


def report(sent: list[Sent], seconds: float, client_s: float) -> None:
    """Print what came of the requests."""
    statuses = Counter(each.status for each in sent)
    times = np.array([each.seconds for each in sent if each.status == 200]) * 1000
    windows = [
        np.mean([each.seconds for each in sent if start <= each.due_at < start + WINDOW_S])
        for start in range(0, int(seconds) - WINDOW_S + 1, WINDOW_S)
    ]
    quantiles = {share: np.percentile(times, share) for share in (50, 95, 99, 99.9)}
    shown = ", ".join(f"p{share} {value:.1f} ms" for share, value in quantiles.items())
    print(f"{len(sent)} requests, by status {dict(statuses)}")
    print(f"answers: {shown}, at most {times.max():.1f} ms")
    spread = np.std(windows) / np.mean(windows)
    print(f"means of {WINDOW_S}-second windows vary by {spread:.1%} (coefficient of variation)")
    print(f"the client took {client_s / seconds:.2f} of a core")


def main() -> None:
    """Serve, ask, and compare with the books."""
    reference, *rest = sys.argv[1:]
    numbers = [float(word) for word in rest if "=" not in word]
    rate, seconds = (*numbers, *(50.0, 300.0)[len(numbers) :])
    model = reference.partition("@")[0].partition(":")[0]
    key = make_key("serve_slo")
    since = f"since={datetime.now(UTC):%Y-%m-%dT%H:%M}"
    settings = [f"serve.port={PORT}", *(word for word in rest if "=" in word)]
    server = subprocess.Popen(
        job("serve", f"models=[{reference}]", "cluster.address=local", *settings),
        stdout=subprocess.DEVNULL,
        # Else the client, on the same cores, goes before what it asks.
        env=dict(os.environ, RAY_worker_niceness="0"),
    )
    try:
        wait_until_ready(server)
        asyncio.run(load(model, key, rate, WARM_UP_S))
        before = resource.getrusage(resource.RUSAGE_SELF)
        sent = asyncio.run(load(model, key, rate, seconds))
        after = resource.getrusage(resource.RUSAGE_SELF)
        spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report(sent, seconds, spent_s)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()
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
