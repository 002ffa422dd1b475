"""What is left of an endpoint's latency when there is no endpoint: the bound for any server here.

Photos come at the moments of `serve_slo.py`, and are decoded, joined and computed by the replica of
`serve` in this process: no HTTP, no client, no keys, no usage records, no Ray. What it cannot
reach on a machine, nothing that serves this model on it with this engine can.

    STORAGE=storage python benchmarks/serve_bound.py resnet50@champion [requests a second, 50] \
        [seconds, 60] [threads, 2]
"""

import asyncio
import os
import random
import time

import numpy as np

from aiplat.inference.opening import Wanted, open_version
from aiplat.registry.mlflow import Registry
from aiplat.serving.config import BatchingConfig
from aiplat.serving.replica import Replica
from aiplat.serving.served import ModelInfo
from benchmarks.endpoint import (
    NUM_PHOTOS,
    STORAGE,
    WARM_UP_S,
    WINDOW_S,
    arguments,
    photo,
    unevenness,
)


def opened(reference: str, threads: int) -> Replica:
    """The model's replica, warmed up."""
    version = Registry(STORAGE).resolve(reference)
    predictor = open_version(version, Wanted(device="cpu", threads=threads))
    inputs, outputs = predictor.task_inputs, predictor.task_outputs
    info = ModelInfo(version.name, str(version.version), inputs, outputs)
    replica = Replica(predictor, info, BatchingConfig(), threads)
    replica.warm_up()
    return replica


async def load(replica: Replica, rate: float, seconds: float) -> list[tuple[float, float]]:
    """When each request was due and what it took from then on, in seconds."""
    photos = [photo(seed) for seed in range(NUM_PHOTOS)]
    chance, took = random.Random(0), list[tuple[float, float]]()
    began_at, due_at = time.perf_counter(), 0.0

    async def ask(due_at: float) -> None:
        await replica.predict([{"image": chance.choice(photos)}])
        took.append((due_at, time.perf_counter() - began_at - due_at))

    async with asyncio.TaskGroup() as asking:
        while due_at < seconds:
            await asyncio.sleep(max(0.0, began_at + due_at - time.perf_counter()))
            asking.create_task(ask(due_at))
            due_at += chance.expovariate(rate)
    return took


def main() -> None:
    """Ask, and tell how long it took."""
    reference, (rate, seconds, threads), _ = arguments(50, 60, 2)
    # Read as the engine's libraries are loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    replica = opened(reference, int(threads))

    async def ask() -> tuple[list[tuple[float, float]], float]:
        await load(replica, rate, WARM_UP_S)
        before = time.process_time()
        return await load(replica, rate, seconds), time.process_time() - before

    took, spent_s = asyncio.run(ask())
    times = np.array([each for _, each in took]) * 1000
    print(
        f"{len(took)} requests, {rate:g} a second, without a server: "
        f"p50 {np.percentile(times, 50):.1f}, p99 {np.percentile(times, 99):.1f} ms; "
        f"means of {WINDOW_S}-second windows vary by {unevenness(took, seconds):.1%}; "
        f"{spent_s / len(took) * 1000:.1f} ms of the processor each, "
        f"{spent_s / seconds:.2f} cores"
    )


if __name__ == "__main__":
    main()
