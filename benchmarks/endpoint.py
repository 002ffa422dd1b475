"""What the benchmarks of endpoints share: photos, a key, the job that serves, the command line."""

import io
import math
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import numpy as np
from PIL import Image

STORAGE = os.environ.get("STORAGE", "storage")
PORT = 8765
URL = f"http://127.0.0.1:{PORT}"
# Asked where the command line names no model.
REFERENCE = "resnet50@champion"
NUM_PHOTOS = 20
WARM_UP_S = 10
WINDOW_S = 10
MAX_OPEN = 200


def arguments(*defaults: float, leave: Sequence[str] = ()) -> tuple[str, list[float], list[str]]:
    """The model, the numbers and the settings of `serve` that the command line has.

    defaults: of the numbers; leave: words that are the script's own.
    """
    words = [word for word in sys.argv[1:] if word not in leave]
    settings = [word for word in words if "=" in word]
    names = [word for word in words if "=" not in word and not _is_number(word)]
    numbers = [float(word) for word in words if _is_number(word)]
    if len(names) > 1 or len(numbers) > len(defaults):
        raise SystemExit(f"{sys.argv[0]} takes a model and {len(defaults)} numbers, not {words}")
    return (names or [REFERENCE])[0], [*numbers, *defaults[len(numbers) :]], settings


def _is_number(word: str) -> bool:
    return word.replace(".", "", 1).isdecimal()


def name_of(reference: str) -> str:
    """The model's name in `resnet50@champion` and `resnet50:3`."""
    return reference.partition("@")[0].partition(":")[0]


def photo(seed: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """A JPEG file of about 100 KB."""
    noise = np.random.default_rng(seed)
    coarse = Image.fromarray(noise.integers(0, 256, (60, 80, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), dtype=np.int16)
    grain = noise.integers(-12, 13, smooth.shape)
    stream = io.BytesIO()
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=78)
    return stream.getvalue()


def job(name: str, *given: str) -> list[str]:
    """The command of a job over the same storage."""
    return [sys.executable, "-m", f"aiplat.jobs.{name}", *given, f"storage={STORAGE}"]


def make_key(owner: str) -> str:
    """An API key that is good for a day."""
    made = subprocess.run(
        job("keys", "create", f"owner={owner}", "expires=1d", "quiet=true"),
        check=True,
        stdout=subprocess.PIPE,
    )
    return made.stdout.decode().strip()


def start(reference: str, *settings: str) -> "subprocess.Popen[bytes]":
    """The job that serves the model on a cluster of its own, once it answers."""
    server = subprocess.Popen(
        job("serve", f"models=[{reference}]", "cluster.address=local", *settings),
        stdout=subprocess.DEVNULL,
        # Else the client, on the same cores, goes before what it asks.
        env=dict(os.environ, RAY_worker_niceness="0"),
    )
    try:
        while server.poll() is None:
            if _is_ready():
                return server
            time.sleep(1)
    except BaseException:
        stop(server)
        raise
    raise SystemExit("the endpoint did not start")


def _is_ready() -> bool:
    try:
        return httpx.get(f"{URL}/readyz", trust_env=False, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def stop(server: "subprocess.Popen[bytes]") -> None:
    """End the job as Ctrl-C does."""
    server.send_signal(signal.SIGINT)
    server.wait()


@contextmanager
def serving(reference: str, *settings: str) -> Iterator[None]:
    """The model answers at `URL`, and no longer afterwards."""
    server = start(reference, f"serve.port={PORT}", *settings)
    try:
        yield
    finally:
        stop(server)


def unevenness(took: Sequence[tuple[float, float]], seconds: float) -> float:
    """How much the means of ten-second windows vary: the coefficient of variation.

    took: when each request was due, and what it took, in seconds. NaN where there is no window.
    """
    windows = [
        [each for due_at, each in took if begin <= due_at < begin + WINDOW_S]
        for begin in range(0, int(seconds) - WINDOW_S + 1, WINDOW_S)
    ]
    means = [statistics.fmean(window) for window in windows if window]
    return statistics.pstdev(means) / statistics.fmean(means) if means else math.nan
