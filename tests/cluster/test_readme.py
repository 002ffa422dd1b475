"""What README.md tells people to do with their own data, done: from a folder to an answer."""

import io
import json
import os
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aiplat.cluster.session import Session
from tests.stores import storage_with_database
from tests.test_readme import README, ROOT, commands

# Ray uses deprecated parts of its own dependencies.
pytestmark = [pytest.mark.cluster, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

# So much less than the README's run: one step of few rows.
QUICK = ("loop.max_steps=1", "dataset.batch_size=8", "scale.num_workers=1")


def photos(folder: Path) -> None:
    """Forty pictures in two class folders."""
    for number in range(40):
        colour = ("red", "blue")[number % 2]
        path = folder / colour / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), colour).rotate(number).resize((32 + number, 32)).save(path)


def own_data_commands() -> list[list[str]]:
    """The commands of the section `Your own data`, as lists of arguments after `python`."""
    section = README.partition("## Your own data")[2].partition("\n## ")[0]
    return [shlex.split(command)[1:] for command in commands(section)]


def ask(url: str, key: str) -> Any:
    """The endpoint's answer to one picture, as a form."""
    stream = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(stream, "PNG")
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n'
    body = part + stream.getvalue() + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b", "X-API-Key": key}
    request = urllib.request.Request(f"{url}/v1/models/photos:predict", body, headers)  # noqa: S310
    with _opener().open(request, timeout=60) as response:
        return json.loads(response.read())


def wait_until_served(process: subprocess.Popen[str]) -> str:
    """The key that the endpoint made for whoever started it."""
    assert process.stdout is not None
    key = ""
    for line in process.stdout:
        if line.startswith("API key"):
            key = line.split()[2]
        if "Ctrl-C takes it down" in line:
            return key
    raise AssertionError("the endpoint ended before it was ready")


def test_a_folder_of_photos_becomes_an_endpoint(
    cluster: Session, serve_port: int, tmp_path: Path
) -> None:
    photos(tmp_path / "photos")
    storage_with_database(tmp_path / "storage")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_ADDRESS": cluster.address}
    # The first on a cluster of its own, as where none runs yet; it ends with the job.
    further = (("cluster.address=local",), QUICK)
    *makers, serve = own_data_commands()
    for command, more in zip(makers, further, strict=True):
        subprocess.run([sys.executable, *command, *more], cwd=tmp_path, env=environment, check=True)
    served = subprocess.Popen(
        [sys.executable, *serve, f"serve.port={serve_port}"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    with served:
        try:
            key = wait_until_served(served)
            answer = ask(f"http://127.0.0.1:{serve_port}", key)
            assert set(answer["predictions"][0]["probabilities"]) == {"blue", "red"}
            served.send_signal(signal.SIGINT)
            assert served.wait(timeout=120) == 0
        finally:
            served.kill()


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))
