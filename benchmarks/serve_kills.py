"""An endpoint whose processes are killed under load: is a usage record lost or doubled?

Starts `serve`, asks it without end, and kills with SIGKILL, in turn: the replica that computes, the
proxy before it, and everything, the whole cluster with the job that started it (which is then
started again). Afterwards holds what clients were answered against the records, by the ids of the
answers, and prints the line that closes the books. Needs a model of images.

    python benchmarks/serve_kills.py shapes@champion [times each, 5]

STORAGE says where the registry is (storage). Further settings of `serve` may follow.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil

from aiplat.serving.metering.books import books_place
from benchmarks.endpoint import (
    PORT,
    STORAGE,
    URL,
    arguments,
    job,
    make_key,
    name_of,
    photo,
    start,
    stop,
)

CLIENTS = 4
CALM_S = 4.0
PATIENCE_S = 90.0
# What a process of the endpoint is called, out of those that `serve` has started.
TITLES = {"replica": ("ServeReplica:aiplat:",), "proxy": ("haproxy", "HAProxyManager")}


class Endpoint:
    """The job that serves, and all that it started."""

    def __init__(self, reference: str, settings: list[str]) -> None:
        self._reference, self._settings = reference, settings
        self.start()

    def start(self) -> None:
        """Start the job, and wait until it answers."""
        self._server = start(self._reference, *self._settings)

    def stop(self) -> None:
        """End the job as Ctrl-C does."""
        stop(self._server)

    def kill(self, what: str) -> int:
        """End processes without notice; `head` is all of them. Returns how many."""
        job_itself = psutil.Process(self._server.pid)
        ours = job_itself.children(recursive=True)
        if what != "head":
            ours = [each for each in ours if _is_called(each, TITLES[what])]
        for each in [job_itself, *ours] if what == "head" else ours:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        if what == "head":
            self._server.wait()
        return len(ours)


def _is_called(process: psutil.Process, titles: tuple[str, ...]) -> bool:
    with suppress(psutil.Error):
        # Scripts of the agents of Ray have our folder in their command, and that may say anything.
        first = " ".join(process.cmdline()[:1])
        return any(title in first for title in titles)
    return False


class Clients:
    """They ask without end. answered: the id of each answer, and when it came."""

    def __init__(self, model: str, key: str) -> None:
        self.answered: dict[str, float] = {}
        self.failed: defaultdict[str, int] = defaultdict(int)
        self._url, self._key = f"{URL}/v1/models/{model}:predict", key
        self._is_over = False

    async def __aenter__(self) -> "Clients":
        self._tasks = [asyncio.create_task(self._ask()) for _ in range(CLIENTS)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_over = True
        await asyncio.gather(*self._tasks)

    async def go_on(self) -> float:
        """Wait until something was answered that came later. Returns the seconds it took."""
        began_at, known = time.monotonic(), len(self.answered)
        while len(self.answered) < known + 2 * CLIENTS:
            if time.monotonic() - began_at > PATIENCE_S:
                raise SystemExit(f"nothing was answered for {PATIENCE_S:g} s")
            await asyncio.sleep(0.05)
        return time.monotonic() - began_at

    async def _ask(self) -> None:
        file = photo(0)
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            while not self._is_over:
                try:
                    response = await client.post(
                        self._url, files={"image": file}, headers={"X-API-Key": self._key}
                    )
                except httpx.HTTPError as error:
                    self.failed[type(error).__name__] += 1
                    await asyncio.sleep(0.2)
                    continue
                if response.status_code == 200:
                    self.answered[response.headers["X-Prediction-Id"]] = time.time()
                else:
                    self.failed[str(response.status_code)] += 1
                    await asyncio.sleep(0.2)


async def drill(endpoint: Endpoint, clients: Clients, times: int) -> None:
    """Kill each kind of process in turn, again and again."""
    took: defaultdict[str, list[float]] = defaultdict(list)
    async with clients:
        await clients.go_on()
        for turn in range(times):
            for what in ("replica", "proxy", "head"):
                await asyncio.sleep(CALM_S)
                ended = await asyncio.to_thread(endpoint.kill, what)
                if what == "head":
                    await asyncio.to_thread(endpoint.start)
                took[what].append(await clients.go_on())
                print(
                    f"{turn + 1}. {what}: {ended} processes killed, answers again after "
                    f"{took[what][-1]:.1f} s{' of being up' if what == 'head' else ''}",
                    flush=True,
                )
    for what, seconds in took.items():
        print(f"{what}: answers again after {statistics.median(seconds):.1f} s (median)")


def main() -> None:
    """Serve, kill, and compare."""
    reference, (times,), settings = arguments(5)
    model = name_of(reference)
    key = make_key("serve_kills")
    began_at = time.time()
    since = f"since={datetime.now(UTC):%Y-%m-%dT%H:%M}"
    endpoint = Endpoint(reference, [f"serve.port={PORT}", *settings])
    clients = Clients(model, key)
    try:
        asyncio.run(drill(endpoint, clients, int(times)))
    finally:
        endpoint.stop()
    # It brings home what killed processes left on the disk.
    told = subprocess.run(job("usage", since, "format=json"), check=True, stdout=subprocess.PIPE)
    books: dict[str, Any] = json.loads(told.stdout)
    with closing(books_place(STORAGE, None).open_ledger()) as ledger:
        records = [
            record
            for record in ledger.records(began_at - 1, time.time() + 1)
            if record.status == 200 and record.key
        ]
    known = [record.prediction_id for record in records]
    lost = set(clients.answered) - set(known)
    print(
        f"{len(clients.answered)} answers, {len(lost)} of them without a record, "
        f"{len(known) - len(set(known))} records doubled, "
        f"{len(set(known) - set(clients.answered))} of answers that were cut off; "
        f"requests that failed: {dict(clients.failed)}"
    )
    print(f"books since the start: {books['reconciliation']}")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
