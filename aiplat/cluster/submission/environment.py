"""The libraries of a submitted job: those of the cluster, or those installed here, by uv.

Ray makes an environment once for each node and set of libraries, and keeps it.
"""

import json
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

PACKAGE = "aiplat"
_REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[([^\]]*)\])?")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w.-]+)['\"]")
# torch alone takes minutes to come.
_SETUP_TIMEOUT_S = 3600
_ANSWER = "aiplat lacks: "


def pins(extras: Iterable[str] = ()) -> list[str]:
    """What aiplat needs, and what that needs, each as it is installed here: `name==version`.

    extras: further ones of aiplat's. Libraries that only other platforms need are left out.
    """
    versions: dict[str, str] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [(PACKAGE, frozenset(extras))]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        # Builds for one kind of hardware ("2.8.0+cpu") have a name of their own on no index.
        versions[name] = found.version.partition("+")[0]
        waiting += _required(found.requires or [], wanted)
    versions.pop(PACKAGE, None)
    return [f"{name}=={version}" for name, version in sorted(versions.items())]


def runtime_env(install: Sequence[str]) -> dict[str, Any]:
    """What Ray is told of the job's environment. install: libraries to install; none: none."""
    env: dict[str, Any] = {
        "env_vars": {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"},
        "config": {"setup_timeout_seconds": _SETUP_TIMEOUT_S},
    }
    if install:
        # Ray's own option is to ask for everything anew; each worker would compile torch otherwise.
        env["uv"] = {"packages": list(install), "uv_pip_install_options": ["--compile-bytecode"]}
    return env


def question(python: str, extras: Iterable[str] = ()) -> str:
    """A command that tells which of aiplat's own requirements an interpreter lacks."""
    required = metadata.distribution(PACKAGE).requires or []
    names = sorted({name for name, _ in _required(required, frozenset(extras))})
    code = (
        "import json, sys; from importlib import metadata\n"
        "def lacks(name):\n"
        "    try: metadata.version(name)\n"
        "    except metadata.PackageNotFoundError: return True\n"
        f"print({_ANSWER!r} + json.dumps([name for name in sys.argv[1:] if lacks(name)]))"
    )
    return f"exec {shlex.join([python, '-c', code, *names])}"


def answered(log: str) -> list[str] | None:
    """What the interpreter lacks, by the log of that command; None where it cannot tell."""
    for line in log.splitlines():
        if line.startswith(_ANSWER):
            return list(json.loads(line.removeprefix(_ANSWER)))
    return None


def _required(requires: Iterable[str], extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    """Names with their extras, of requirements that hold for these extras."""
    found = []
    for text in requires:
        requirement, _, marker = text.partition(";")
        asked = _EXTRA.search(marker)
        matched = _REQUIREMENT.match(requirement.strip())
        if matched and (asked is None or asked[1] in extras):
            name = re.sub(r"[-_.]+", "-", matched[1]).lower()
            inner = (matched[2] or "").replace(" ", "")
            found.append((name, frozenset(inner.split(",")) - {""}))
    return found
