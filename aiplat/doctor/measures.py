"""How fast the parts are that training and endpoints wait for. Each takes about a second."""

import http.client
import io
import os
import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median

from aiplat.doctor.finding import Finding, judged

_DISK_BYTES = 128 << 20
_CHUNK = bytes(4 << 20)
_COPY_BYTES = 256 << 20
_PICTURE_SIDE = 320
_DECODE_FOR_S = 1.0
_NUM_REQUESTS = 200
_ROUNDS = 5

# Less than these is not wrong, but most likely not what was paid for.
_SLOW_DISK_MB = 100
_SLOW_DECODE = 100
_SLOW_COPY_GB = 3
_SLOW_ECHO_MS = 5.0


def measure_disk(folder: str) -> Iterator[Finding]:
    """Writing where checkpoints go, until it is on the disk."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
        began = time.perf_counter()
        for _ in range(_DISK_BYTES // len(_CHUNK)):
            file.write(_CHUNK)
        file.flush()
        os.fsync(file.fileno())
        speed = _DISK_BYTES / 1e6 / (time.perf_counter() - began)
    yield judged(
        "disk writes",
        f"{speed:.0f} MB/s",
        "ok" if speed >= _SLOW_DISK_MB else "warning",
        f"a checkpoint of 1 GB takes {1000 / speed:.0f} s: put storage on a faster disk",
    )


def measure_decoding() -> Iterator[Finding]:
    """Pictures that one CPU makes pixels of, by what the loader does that with."""
    from aiplat.tasks.images import decode

    data = _picture()
    speed = _per_second(lambda: decode(data, _PICTURE_SIDE))
    yield judged(
        "JPEG decoding",
        f"{speed:.0f} images/s a CPU ({_PICTURE_SIDE} x {_PICTURE_SIDE})",
        "ok" if speed >= _SLOW_DECODE else "warning",
        f"a GPU that takes 1000 images/s needs {1000 / speed:.0f} CPUs for decoding: give its "
        "node more, or set dataset.cache_bytes",
    )


def measure_copy() -> Iterator[Finding]:
    """From memory to the GPU; nothing where there is none."""
    import torch

    if not torch.cuda.is_available():
        return
    source = torch.empty(_COPY_BYTES, dtype=torch.uint8, pin_memory=True)
    target = torch.empty_like(source, device="cuda")
    times = []
    for _ in range(_ROUNDS):
        torch.cuda.synchronize()
        began = time.perf_counter()
        target.copy_(source, non_blocking=True)
        torch.cuda.synchronize()
        times.append(time.perf_counter() - began)
    speed = _COPY_BYTES / 1e9 / median(times)
    yield judged(
        "copies to the GPU",
        f"{speed:.1f} GB/s",
        "ok" if speed >= _SLOW_COPY_GB else "warning",
        "see that the GPU has all its PCIe lanes: nvidia-smi -q -d PCIE",
    )


def measure_echo() -> Iterator[Finding]:
    """What one HTTP request to this machine itself takes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        times = sorted(_echo_times(int(server.server_address[1])))
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    half, most = (1000 * times[int(len(times) * share)] for share in (0.5, 0.99))
    yield judged(
        "HTTP echo",
        f"{half:.2f} ms, {most:.2f} ms at the 99th percentile",
        "ok" if half < _SLOW_ECHO_MS else "warning",
        "the machine is busy with something else: endpoints will be late, too",
    )


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small answers would wait for company otherwise.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nobody wants to read of each."""


def _echo_times(port: int) -> list[float]:
    asking = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    times = []
    for number in range(_NUM_REQUESTS):
        body = str(number).encode()
        began = time.perf_counter()
        asking.request("POST", "/", body)
        answer = asking.getresponse().read()
        times.append(time.perf_counter() - began)
        if answer != body:
            raise ValueError(f"asked {body!r}, it answered {answer!r}")
    asking.close()
    return times


def _per_second(call: Callable[[], object]) -> float:
    call()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < _DECODE_FOR_S:
        call()
        count += 1
    return count / (time.perf_counter() - began)


def _picture() -> bytes:
    """A JPEG with as much in it as a photo has: noise that was made coarse."""
    from PIL import Image

    coarse = _PICTURE_SIDE // 4
    pixels = random.Random(0).randbytes(3 * coarse * coarse)
    small = Image.frombytes("RGB", (coarse, coarse), pixels)
    data = io.BytesIO()
    small.resize((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.BICUBIC).save(
        data, "JPEG", quality=90
    )
    return data.getvalue()
