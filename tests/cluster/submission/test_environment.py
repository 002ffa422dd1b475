"""The libraries of a submitted job: what is asked of the cluster, and what it installs."""

import subprocess
import sys
from importlib import metadata

from aiplat.cluster.submission.environment import answered, pins, question, runtime_env


def test_the_versions_installed_here_are_pinned_with_all_they_need() -> None:
    found = dict(pin.split("==") for pin in pins())
    assert found["torch"] == metadata.version("torch").partition("+")[0]
    # Of ray[default] and of fastapi: what requirements require, their extras too.
    assert {"aiohttp", "starlette", "ray"} <= found.keys()
    assert not {"aiplat", "pytest", "openvino", "tritonclient"} & found.keys()
    assert "openvino" in dict(pin.split("==") for pin in pins(["openvino"]))


def test_an_interpreter_tells_what_it_lacks() -> None:
    asked = question(sys.executable)
    done = subprocess.run(["sh", "-c", asked], capture_output=True, text=True, check=True)
    assert answered(f"Running entrypoint\n{done.stdout}") == []
    bare = asked.replace(f"exec {sys.executable}", f"exec {sys.executable} -I -S")
    done = subprocess.run(["sh", "-c", bare], capture_output=True, text=True, check=True)
    lacking = answered(done.stdout)
    assert lacking is not None
    assert {"ray", "torch", "mlflow"} <= set(lacking)
    assert answered("sh: 1: exec: python: not found\n") is None


def test_libraries_are_taken_from_what_uv_has_kept() -> None:
    assert "uv" not in runtime_env([])
    told = runtime_env(["torch==2.15.0"])["uv"]
    assert told["packages"] == ["torch==2.15.0"]
    assert "--no-cache" not in told["uv_pip_install_options"]
