"""The image and what is started of it: no root, no secrets, nothing but what the lock names."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "deploy/image"
COMPOSE = ROOT / "deploy/compose"
OURS = ("aiplat:0.1.0", "aiplat-dev:0.1.0")


def instructions() -> list[tuple[str, str]]:
    """Those of the Dockerfile, with their arguments on one line."""
    lines = (IMAGE / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = text.replace("\\\n", " ")
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, " ".join(arguments.split())) for name, _, arguments in found]


def stages() -> dict[str, list[tuple[str, str]]]:
    """The instructions of each stage, those of the stages it is made of first."""
    found: dict[str, list[tuple[str, str]]] = {}
    current = ""
    for name, arguments in instructions():
        if name == "FROM":
            base, _, current = arguments.partition(" AS ")
            found[current] = list(found.get(base, [])) if base in found else [(name, base)]
        elif current or found:
            found[current].append((name, arguments))
    return found


def service(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"][name])


def test_every_stage_is_made_of_the_base_that_is_given() -> None:
    assert instructions()[0][0] == "ARG"
    assert instructions()[0][1].startswith("BASE_IMAGE=")
    assert len(stages()) == 5
    assert {stage[0] for stage in stages().values()} == {("FROM", "${BASE_IMAGE}")}


@pytest.mark.parametrize("stage", ["", "aiplat", "dev"])
def test_what_is_run_is_not_root(stage: str) -> None:
    users = [arguments for name, arguments in stages()[stage] if name == "USER"]
    # As a number: Kubernetes cannot see that a name is not root's.
    assert users[-1] == "1000"
    last = max(place for place, (name, _) in enumerate(stages()[stage]) if name == "USER")
    assert "RUN" not in [name for name, _ in stages()[stage][last:]]


def test_libraries_are_those_of_the_lock_and_compiled() -> None:
    text = " ".join(arguments for _, arguments in instructions())
    assert "--require-hashes -r /build/requirements.lock" in text
    assert "UV_COMPILE_BYTECODE=1" in text
    # All else that is installed is named with its version.
    assert re.findall(r'install [^&]*?"(\w+)==\$\{\w+\}"', text) == ["uv", "jupyterlab"]
    assert ":latest" not in text
    assert "ADD" not in [name for name, _ in instructions()]


def test_no_file_names_a_secret_or_an_index() -> None:
    files = [*IMAGE.iterdir(), *COMPOSE.rglob("*"), ROOT / ".devcontainer/devcontainer.json"]
    for file in filter(Path.is_file, files):
        text = file.read_text()
        addresses = re.findall(r"[a-z]+://([\w.-]+)", text)
        assert set(addresses) <= {"mlflow", "prometheus", "grafana", "head", "localhost", "aiplat"}
        assert "index-url" not in text
        if file.name == "Dockerfile":
            for name, arguments in instructions():
                if name in ("ENV", "ARG"):
                    assert not re.search("TOKEN|PASSWORD|SECRET|CREDENTIAL", arguments)
    for line in (COMPOSE / "example.env").read_text().splitlines():
        assert line.startswith("#") or line.endswith("=")


def test_what_is_copied_is_there_and_nothing_else_is_sent() -> None:
    kept = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [
        source
        for name, arguments in instructions()
        if name == "COPY" and "--from" not in arguments
        for source in arguments.split()[:-1]
    ]
    assert sorted(sources) == sorted(line[1:] for line in kept if line.startswith("!"))
    assert all((ROOT / source).exists() for source in sources)
    assert "*" in kept


def test_the_script_without_docker_can_be_read_by_bash() -> None:
    script = IMAGE / "build_without_docker.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.stat().st_mode & 0o111


def test_the_services_are_open_to_this_machine_only() -> None:
    services = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    assert {"head", "worker", "mlflow", "postgres", "notebooks", "prometheus", "grafana"} == set(
        services
    )
    ports = [port for told in services.values() for port in told.get("ports", [])]
    assert len(ports) == 6
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []
    for told in services.values():
        assert told["image"] in OURS or re.search(r":v?\d", told["image"])


def test_all_nodes_have_the_token_and_the_storage() -> None:
    for name in ("head", "worker", "notebooks"):
        environment = service(name)["environment"]
        assert environment["RAY_AUTH_MODE"] == "token"
        assert environment["RAY_AUTH_TOKEN"].startswith("${RAY_AUTH_TOKEN:?")
        assert "shared:/shared" in service(name)["volumes"]
    assert "--dashboard-host=0.0.0.0" in service("head")["command"]


def test_every_variable_of_the_services_is_explained() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    asked = set(re.findall(r"\$\{(\w+)", text))
    told = re.findall(r"^(\w+)=", (COMPOSE / "example.env").read_text(), re.MULTILINE)
    assert asked == set(told)
    assert "/deploy/compose/.env" in (ROOT / ".gitignore").read_text().splitlines()


def test_what_is_mounted_is_there() -> None:
    text = (COMPOSE / "compose.yaml").read_text()
    mounted = re.findall(r"^ +- (\./[\w./]+):", text, re.MULTILINE)
    assert len(mounted) == 4
    assert all((COMPOSE / name).is_file() for name in mounted)
    prometheus = yaml.safe_load((COMPOSE / "prometheus.yml").read_text())
    (ray,) = prometheus["scrape_configs"]
    listed = ray["file_sd_configs"][0]["files"][0]
    assert "ray:/tmp/ray:ro" in service("prometheus")["volumes"]
    assert listed == "/tmp/ray/prom_metrics_service_discovery.json"  # noqa: S108 - in the container


def test_the_devcontainer_is_the_image_that_has_notebooks() -> None:
    told = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    file = (ROOT / ".devcontainer" / told["build"]["dockerfile"]).resolve()
    assert file == IMAGE / "Dockerfile"
    assert told["build"]["target"] in stages()
    assert told["remoteUser"] == "aiplat"
