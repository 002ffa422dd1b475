"""An alias that moves between two versions under load: does a request fail meanwhile?

Starts `serve`, which follows the alias, sends requests at random moments (Poisson), and moves the
alias with `register` to the other version and back, again and again. Tells of each move how long
after the command the first answer of the new version came and the last one of the old, what
requests were answered with, and how long they took while a version moved and between. Needs a model
with two versions, of two runs (a run that is registered again is the same version), of which it
takes the one that the alias names and the newest other one:

    python -m aiplat.jobs.train +exp=clip name=other seed=1 register.name=clip register.alias=null
    python benchmarks/serve_move.py clip@champion [requests a second, 30] [moves, 5]

STORAGE says where the registry is (storage). Further settings of `serve` may follow. The alias ends
where it was, so let nobody else use it. Exits with 1 where a request failed.
"""

import asyncio
import base64
import random
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np

from aiplat.registry.mlflow import Registry
from benchmarks.endpoint import MAX_OPEN, STORAGE, URL, arguments, job, make_key, photo, serving

WARM_UP_S = 5.0
# Between two moves, and so long no answer of the old version must come for a move to be over.
CALM_S = 10.0
PATIENCE_S = 300.0


@dataclass(frozen=True)
class Asked:
    """One request. due_at: when it had to be sent; seconds: from then to its answer."""

    due_at: float
    seconds: float
    status: int
    version: str


@dataclass(frozen=True)
class Move:
    """The alias went to another version. over_at: when only that one answered."""

    began_at: float
    over_at: float

    def holds(self, asked: Asked) -> bool:
        """Whether a request was due meanwhile."""
        return self.began_at <= asked.due_at <= self.over_at


class Load:
    """Requests at random moments, `rate` a second on average, until it is left."""

    def __init__(self, model: str, key: str, rate: float) -> None:
        self._model, self._rate = f"{URL}/v1/models/{model}", rate
        self._headers = {"X-API-Key": key}
        self.asked: list[Asked] = []

    async def __aenter__(self) -> "Load":
        limits = httpx.Limits(max_connections=MAX_OPEN, max_keepalive_connections=MAX_OPEN)
        self._client = httpx.AsyncClient(
            limits=limits, timeout=30, trust_env=False, headers=self._headers
        )
        self._body = await self._example()
        self._sending = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sending.cancel()
        await asyncio.wait([self._sending])
        await asyncio.gather(*self._open)
        await self._client.aclose()

    async def _example(self) -> dict[str, Any]:
        """A request as the model describes it, with a photo of ours."""
        told = (await self._client.get(self._model)).raise_for_status().json()
        body: dict[str, Any] = told["example"]
        for field in told["inputs"]:
            if field["kind"] == "image":
                body["inputs"][0][field["name"]] = base64.b64encode(photo(0)).decode()
        return body

    async def _send(self) -> None:
        chance, due_at = random.Random(0), time.perf_counter()
        self._open: set[asyncio.Task[None]] = set()
        while True:
            await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
            self._open.add(task := asyncio.create_task(self._ask(due_at)))
            task.add_done_callback(self._open.discard)
            due_at += chance.expovariate(self._rate)

    async def _ask(self, due_at: float) -> None:
        status, version = 0, ""
        try:
            response = await self._client.post(f"{self._model}:predict", json=self._body)
            status, version = response.status_code, response.headers.get("X-Model-Version", "")
        except httpx.HTTPError as error:
            print(f"  {error!r}", flush=True)
        self.asked.append(Asked(due_at, time.perf_counter() - due_at, status, version))

    def answered_at(self, version: str, since: float) -> list[float]:
        """When answers of a version came, in order."""
        times = (each.due_at + each.seconds for each in self.asked if each.version == version)
        return sorted(at for at in times if at >= since)


async def move(load: Load, reference: str, old: str, new: str) -> Move:
    """Move the alias, and wait until no answer comes from the old version any more."""
    name, _, alias = reference.partition("@")
    began_at = time.perf_counter()
    command = job("register", f"model={name}:{new}", f"alias={alias}")
    registering = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
    if await registering.wait():
        raise SystemExit(f"the alias {alias} could not be moved to {name}:{new}")
    moved_at = over_at = time.perf_counter()
    while not (first := load.answered_at(new, began_at)) or time.perf_counter() < over_at + CALM_S:
        if time.perf_counter() > moved_at + PATIENCE_S:
            raise SystemExit(f"{name}:{new} does not answer alone after {PATIENCE_S:g} s")
        await asyncio.sleep(0.5)
        last = [moved_at, *load.answered_at(old, began_at)][-1]
        over_at = max([last, *first[:1]])
    print(
        f"{name}:{old} -> {name}:{new}: after the command ({moved_at - began_at:.1f} s) the first "
        f"answer of {new} came after {first[0] - moved_at:.1f} s, the last of {old} after "
        f"{last - moved_at:.1f} s",
        flush=True,
    )
    return Move(began_at, over_at)


async def moves(load: Load, reference: str, versions: tuple[str, str], times: int) -> list[Move]:
    """Move the alias so often, from the first version to the second and back."""
    async with load:
        await asyncio.sleep(WARM_UP_S)
        load.asked.clear()
        await asyncio.sleep(CALM_S)
        return [
            await move(load, reference, *(versions if turn % 2 == 0 else versions[::-1]))
            for turn in range(times)
        ]


def report(load: Load, done: list[Move]) -> int:
    """Print what came of the requests. Returns how many failed."""
    moving, calm = list[float](), list[float]()
    for each in load.asked:
        if each.status == 200:
            is_moving = any(move.holds(each) for move in done)
            (moving if is_moving else calm).append(each.seconds * 1000)
    statuses = Counter(each.status for each in load.asked)
    failed = len(load.asked) - statuses[200]
    print(f"{len(load.asked)} requests, by status {dict(statuses)}; {failed} failed")
    for name, times in (("while a version moved", moving), ("else", calm)):
        p50, p99 = np.percentile(times, (50, 99)) if times else (np.nan, np.nan)
        print(f"{name}: {len(times)} answers, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return failed


def main() -> None:
    """Serve, ask, and move."""
    reference, (rate, times), settings = arguments(30, 5)
    name, _, alias = reference.partition("@")
    registry = Registry(STORAGE)
    known = [str(version.version) for version in registry.list_versions(name)]
    if not alias or len(known) < 2:
        raise SystemExit(
            f"{reference} is to be name@alias, of a model with two versions (of {name} there are: "
            f"{', '.join(known) or 'none'}); train another one, or register another run:\n"
            f"python -m aiplat.jobs.register run=RUN name={name} alias=null storage={STORAGE}"
        )
    start = str(registry.resolve(reference).version)
    other = [version for version in known if version != start][-1]
    key = make_key("serve_move")
    load = Load(name, key, rate)
    try:
        with serving(reference, *settings):
            done = asyncio.run(moves(load, reference, (start, other), int(times)))
    finally:
        registry.set_alias(f"{name}:{start}", alias)
    sys.exit(1 if report(load, done) else 0)


if __name__ == "__main__":
    main()
