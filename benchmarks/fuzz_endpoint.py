"""An endpoint under requests that no well-meaning client sends, and clients that dawdle.

Prints what was answered how often and how slowly, each answer that is the server's fault with its
request, how long good requests took beside them, and the endpoint's memory before and after. With
no URL it asks an app over a trivial model, in a process of its own.

    python benchmarks/fuzz_endpoint.py [url=http://host:port] [requests=10000] [key=...] [seed=0]
"""

import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from aiplat.client import Client, ClientError, Retries
from benchmarks.hostile.requests import Target, hostile
from benchmarks.hostile.wire import wire

THREADS = 8
SLOW_CLIENTS = 50
MAX_SHOWN = 20
# One in so many is not even HTTP.
WIRE_EVERY = 20


@dataclass
class Seen:
    """What was answered, from all threads."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    slowest_s: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, maker: str, status: str, took_s: float, told: str) -> None:
        """One answer. told: the request, in case the server is to blame."""
        with self.lock:
            self.statuses[maker, status] += 1
            self.slowest_s[maker] = max(took_s, self.slowest_s.get(maker, 0))
            if status.startswith("5") or status == "none":
                self.faults.append(f"{status}: {told}")

    def table(self) -> str:
        """A line for each kind of request, a column for each status."""
        columns = sorted({status for _, status in self.statuses})
        lines = [f"{'':12}{''.join(f'{name:>8}' for name in columns)}   slowest s"]
        for maker in sorted(self.slowest_s):
            counts = "".join(f"{self.statuses[maker, name]:8}" for name in columns)
            lines.append(f"{maker:12}{counts}{self.slowest_s[maker]:12.2f}")
        return "\n".join(lines)


class Endpoint:
    """The endpoint at a URL, and one of its models, which is asked."""

    def __init__(self, url: str, key: str) -> None:
        self.url = httpx.URL(url)
        self.headers = {"Authorization": f"Bearer {key}"} if key else {}
        self.client = Client(url, api_key=key, retries=Retries(total_s=0))
        model = self.client.describe(self.client.models()[0].name)
        self.row = dict(model.example)
        kinds = {item.name: item.kind for item in model.inputs}
        self.target = Target(model.name, kinds, self.row)
        self.http = httpx.Client(base_url=url, timeout=120, headers=self.headers)

    def hostile(self, seed: int, seen: Seen) -> None:
        """Send one request and take down what comes of it."""
        chance = random.Random(seed)
        if seed % WIRE_EVERY == 0:
            sent = wire(chance, self.target)
            begin = time.perf_counter()
            status = self.write(sent)
            seen.add("wire", status, time.perf_counter() - begin, repr(sent[:100]))
            return
        made = hostile(chance, self.target)
        told = f"seed {seed} {made.maker} {made.method} {made.path[:80]} {made.content[:100]!r}"
        begin = time.perf_counter()
        try:
            response = self.http.request(
                made.method, made.path, content=made.content, headers=made.headers
            )
            status = str(response.status_code)
        except (httpx.InvalidURL, httpx.LocalProtocolError, UnicodeError):
            status = "unsent"
        except httpx.TransportError as error:
            # A server may hang up on a body that it will not read.
            status = "hung up" if isinstance(error, httpx.NetworkError) else "none"
            told = f"{error!r} {told}"
        seen.add(made.maker, status, time.perf_counter() - begin, told)

    def write(self, sent: bytes) -> str:
        """The status that bytes on a new connection are answered with."""
        try:
            with self.connected() as connection:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(65_536)
        except TimeoutError:
            return "none"
        except OSError:
            return "hung up"
        return answer[9:12].decode(errors="replace") if answer[:5] == b"HTTP/" else "closed"

    def good_s(self) -> float:
        """Seconds that a good request takes."""
        begin = time.perf_counter()
        self.client.predict(self.target.model, [self.row])
        return time.perf_counter() - begin

    @contextmanager
    def connected(self) -> Iterator[socket.socket]:
        """A new connection."""
        with socket.create_connection((self.url.host, self.url.port or 80), 120) as connection:
            yield connection

    def dawdle(self, over: threading.Event, seen: Seen) -> None:
        """Send a request of 1 kB, a byte every half a second, until it is refused or all ends."""
        begin = time.perf_counter()
        lines = [f"{name}: {value}\r\n" for name, value in self.headers.items()]
        head = f"POST {self.target.predict} HTTP/1.1\r\nHost: x\r\n{''.join(lines)}"
        try:
            with self.connected() as connection:
                connection.sendall(f"{head}Content-Type: application/json\r\n".encode())
                connection.sendall(b"Content-Length: 1000\r\n\r\n")
                connection.settimeout(0.5)
                status = "waiting"
                while not over.is_set() and status == "waiting":
                    connection.sendall(b" ")
                    try:
                        answer = connection.recv(4096)
                        status = answer[9:12].decode() or "closed"
                    except TimeoutError:
                        pass
        except OSError:
            status = "hung up"
        seen.add("slow", status, time.perf_counter() - begin, "a slow client")


def memory_mb(port: int) -> dict[int, float]:
    """Memory of the processes that serve on a port of this machine; of Ray, with its replicas."""
    listeners = {
        item.pid
        for item in psutil.net_connections("tcp")
        if item.status == psutil.CONN_LISTEN and item.laddr.port == port and item.pid
    }
    # HAProxy goes before replicas, or a proxy of Ray's own.
    by_ray = any(word in name_of(pid) for pid in listeners for word in ("ray::", "haproxy"))
    replicas = [pid for pid in psutil.pids() if name_of(pid).startswith("ray::ServeReplica")]
    chosen = listeners.union(replicas if by_ray else [])
    return {pid: psutil.Process(pid).memory_info().rss / 1e6 for pid in chosen}


def name_of(pid: int) -> str:
    """What a process calls itself, "" where it is gone."""
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.Error:
        return ""


@contextmanager
def own_endpoint() -> Iterator[str]:
    """The URL of an app over a trivial model, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # From the checkout, so that its `tests` are found and not those that some library installs.
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fuzz_endpoint", f"serve={port}"],
        cwd=Path(__file__).parents[1],
    )
    try:
        url = f"http://127.0.0.1:{port}"
        with Client(url, retries=Retries(total_s=30)) as client:
            client.models()
        yield url
    finally:
        process.terminate()
        process.wait()


def serve(port: int) -> None:
    """Answer on the port until this process is ended."""
    import uvicorn

    from aiplat.serving.app import create_app
    from aiplat.serving.config import ServingConfig
    from aiplat.serving.served import ModelInfo
    from tests.serving.conftest import INPUTS, OUTPUTS, LocalModel, mean_red

    class Forgetful(LocalModel):
        """Keeps no rows, which would be counted as memory of the endpoint."""

        async def predict(self, rows: Any) -> Any:
            self.asked.clear()
            return await super().predict(rows)

    info = ModelInfo("reds", "7", INPUTS, OUTPUTS, labels=("red", "not"))
    app = create_app({"reds": Forgetful(info, mean_red)}, ServingConfig(request_timeout_s=10))
    uvicorn.run(app, port=port, log_level="error")


def attack(endpoint: Endpoint, num_requests: int, first_seed: int) -> tuple[Seen, list[float]]:
    """What was answered, and how long good requests took meanwhile."""
    seen, good, over = Seen(), [], threading.Event()
    slow = [
        threading.Thread(target=endpoint.dawdle, args=(over, seen)) for _ in range(SLOW_CLIENTS)
    ]
    for thread in slow:
        thread.start()
    with ThreadPoolExecutor(THREADS) as pool:
        seeds = range(first_seed, first_seed + num_requests)
        work = [pool.submit(endpoint.hostile, seed, seen) for seed in seeds]
        while not all(item.done() for item in work):
            try:
                good.append(endpoint.good_s())
            except ClientError as error:
                seen.faults.append(f"a good request: {error}")
            time.sleep(0.2)
        for item in work:
            item.result()
    over.set()
    for thread in slow:
        thread.join()
    return seen, good


def main() -> None:
    """Attack the endpoint and print what it made of it."""
    given = dict(item.split("=", 1) for item in sys.argv[1:])
    if "serve" in given:
        serve(int(given["serve"]))
        return
    if "url" not in given:
        with own_endpoint() as url:
            report(url, given)
        return
    report(given["url"], given)


def report(url: str, given: dict[str, str]) -> None:
    """The same of the endpoint at a URL."""
    num_requests = int(given.get("requests", "10000"))
    endpoint = Endpoint(url, given.get("key", ""))
    port = endpoint.url.port or 80
    # What is read once and kept is not what is lost to each request.
    attack(endpoint, 200, 10**9)
    before = memory_mb(port)
    alone = [endpoint.good_s() for _ in range(30)]
    begin = time.perf_counter()
    seen, good = attack(endpoint, num_requests, int(given.get("seed", "0")))
    took_s = time.perf_counter() - begin
    after = memory_mb(port)
    print(seen.table())
    for fault in seen.faults[:MAX_SHOWN]:
        print(fault)
    print(f"{num_requests} requests and {SLOW_CLIENTS} slow clients in {took_s:.0f} s: ", end="")
    print(f"{len(seen.faults)} are the server's fault")
    for pid in sorted(before.keys() & after.keys()):
        print(f"{before[pid]:.0f} MB before, {after[pid]:.0f} MB after: {name_of(pid)[:70]}")
    ratio = statistics.median(good) / statistics.median(alone)
    print(
        f"a good request: {1e3 * statistics.median(alone):.0f} ms alone, "
        f"{1e3 * statistics.median(good):.0f} ms meanwhile ({ratio:.1f}x), "
        f"{max(good):.2f} s at most"
    )


if __name__ == "__main__":
    main()
