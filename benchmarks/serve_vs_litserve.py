"""One model behind aiplat, LitServe and BentoML: answers a second, and how long they take.

The servers take turns on this machine, each with the same model, asked by the same client, which
sends photos of about 80 KB in forms: one at a time, and from 16 clients that each wait for their
answer. aiplat checks keys and writes usage down; the others do neither. `same` gives all of them
the engine that `optimize` chose and batches of 16; `defaults` leaves each as it comes, which for
the others is torch as it is, without batches.

    uv pip install --target .peers litserve bentoml
    python -m aiplat.jobs.optimize model=resnet50@champion threads=2
    python benchmarks/serve_vs_litserve.py resnet50@champion [same|defaults] \
        [rounds, 3] [seconds, 15]

STORAGE says where the registry is (storage), PEERS where the peers' packages are (.peers), ARMS
which servers take part, aiplat among them.
"""

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from benchmarks.endpoint import NUM_PHOTOS, arguments, job, make_key, name_of, photo

STORAGE = str(Path(os.environ.get("STORAGE", "storage")).resolve())
PEERS = str(Path(os.environ.get("PEERS", ".peers")).resolve())
ARMS = os.environ.get("ARMS", "aiplat,litserve,bentoml").split(",")
PORT = 8767
URL = f"http://127.0.0.1:{PORT}"
MODES = ("same", "defaults")
CLIENTS = (1, 16)
THREADS = 2
WARM_UP_S = 4.0
START_S = 180


@dataclass
class Arm:
    """A server. command: starts it; path: where it is asked; headers: to be sent."""

    command: list[str]
    path: str
    headers: dict[str, str]
    field: str = "image"


@dataclass
class Seen:
    """What clients saw of a server."""

    rate: float
    p50_ms: float
    p99_ms: float
    failed: int


def arm_of(name: str, reference: str, mode: str, key: str) -> Arm:
    """How a server is started and asked."""
    model = name_of(reference)
    if name == "aiplat":
        settings = [] if mode == "defaults" else ["serve.replica.num_cpus=2"]
        command = job("serve", f"models=[{reference}]", "cluster.address=local", *settings)
        return Arm(
            [*command, f"serve.port={PORT}", "serve.autoscaling.max_replicas=1"],
            f"/v1/models/{model}:predict",
            {"X-API-Key": key},
        )
    if name == "litserve":
        script = [sys.executable, "-m", "benchmarks.peers.litserve_server"]
        words = [reference, STORAGE, str(PORT), str(THREADS), mode]
        return Arm([*script, *words], "/predict", {}, "request")
    script = [sys.executable, "-m", "bentoml", "serve", "benchmarks.peers.bentoml_server:Photos"]
    return Arm([*script, "--host", "127.0.0.1", "--port", str(PORT)], "/predict", {})


def environment(name: str, reference: str, mode: str) -> dict[str, str]:
    """What a server is started with: the same priority for all."""
    own = dict(os.environ, RAY_worker_niceness="0", PYTHONPATH=str(Path.cwd()))
    own.pop("PYTHONDONTWRITEBYTECODE", None)
    if name != "aiplat":
        own["PYTHONPATH"] += os.pathsep + PEERS
        own["PEER"] = json.dumps([reference, STORAGE, THREADS, mode])
    return own


async def ask(arm: Arm, clients: int, seconds: float) -> Seen:
    """Clients that each ask, wait for the answer, and ask again."""
    photos = [photo(seed) for seed in range(NUM_PHOTOS)]
    times: list[float] = []
    failed = 0
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        until = time.perf_counter() + seconds

        async def one(number: int) -> None:
            nonlocal failed
            turn = number
            while time.perf_counter() < until:
                turn += 1
                began_at = time.perf_counter()
                files = {arm.field: (f"{turn}.jpg", photos[turn % len(photos)], "image/jpeg")}
                try:
                    response = await client.post(URL + arm.path, files=files, headers=arm.headers)
                    is_answered = response.status_code == 200
                except httpx.HTTPError:
                    is_answered = False
                if is_answered:
                    times.append(time.perf_counter() - began_at)
                else:
                    failed += 1

        began_at = time.perf_counter()
        await asyncio.gather(*map(one, range(clients)))
        took = time.perf_counter() - began_at
    if not times:
        raise SystemExit(f"{arm.path}: no request was answered, {failed} failed")
    p50, p99 = np.percentile(times, (50, 99)) * 1000
    return Seen(len(times) / took, float(p50), float(p99), failed)


def measured(name: str, reference: str, mode: str, key: str, seconds: float) -> dict[int, Seen]:
    """Start a server, ask it, and end it."""
    arm = arm_of(name, reference, mode, key)
    server = subprocess.Popen(
        arm.command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(name, reference, mode),
        start_new_session=True,
    )
    try:
        wait_until(lambda: answers(arm), server)
        asyncio.run(ask(arm, 4, WARM_UP_S))
        return {clients: asyncio.run(ask(arm, clients, seconds)) for clients in CLIENTS}
    finally:
        server.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            server.wait(60)
        # What it has left behind, in the group that was started for it, would keep the port.
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def answers(arm: Arm) -> bool:
    """Whether the server answers a photo."""
    files = {arm.field: ("0.jpg", photo(0), "image/jpeg")}
    with suppress(httpx.HTTPError):
        reply = httpx.post(
            URL + arm.path, files=files, headers=arm.headers, timeout=20, trust_env=False
        )
        return reply.status_code == 200
    return False


def wait_until(condition: Callable[[], bool], server: "subprocess.Popen[bytes]") -> None:
    """Return when it holds. Exits where the server ends before, or takes too long."""
    until = time.monotonic() + START_S
    while not condition():
        if server.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"{server.args!r} did not start")
        time.sleep(0.5)


def main() -> None:
    """Let the servers take turns, and compare."""
    reference, (rounds, seconds), _ = arguments(3, 15, leave=MODES)
    mode = next((word for word in sys.argv if word in MODES), MODES[0])
    key = make_key("serve_vs_litserve")
    seen: defaultdict[tuple[str, int], list[Seen]] = defaultdict(list)
    for turn in range(int(rounds)):
        # Whoever comes first in a round does so in turn, too.
        for name in ARMS[turn % len(ARMS) :] + ARMS[: turn % len(ARMS)]:
            for clients, each in measured(name, reference, mode, key, seconds).items():
                seen[name, clients].append(each)
                print(f"{turn + 1}. {name}, {clients} clients: {each}", flush=True)
    print(f"{reference}, {mode}, medians of {int(rounds)} rounds of {seconds:g} s:")
    for clients in CLIENTS:
        ours = statistics.median(each.rate for each in seen["aiplat", clients] or [])
        for name in ARMS:
            rows = seen[name, clients]
            rate = statistics.median(each.rate for each in rows)
            p50 = statistics.median(each.p50_ms for each in rows)
            p99 = statistics.median(each.p99_ms for each in rows)
            failed = sum(each.failed for each in rows)
            print(
                f"  {clients:2} clients, {name:9} {rate:7.1f} answers/s "
                f"(aiplat {ours / rate:.2f} times), p50 {p50:6.1f} ms, p99 {p99:6.1f} ms, "
                f"{failed} failed"
            )


if __name__ == "__main__":
    main()
