"""What the package says of itself: its dependencies, its lock, its gate."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

from tests.test_layers import imports

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def names(requirements: list[str]) -> set[str]:
    """The packages that requirements name, as indexes spell them."""
    return {re.split(r"[\[<>=]", item)[0].lower().replace("_", "-") for item in requirements}


REQUIRED = names(PROJECT["dependencies"])
OPTIONAL = names([item for extra in PROJECT["optional-dependencies"].values() for item in extra])


def test_what_is_imported_is_required() -> None:
    packages = packages_distributions()
    found = {
        path.partition(".")[0]
        for file in (ROOT / "aiplat").rglob("*.py")
        for _, path in imports(ast.parse(file.read_text()))
    }
    third = found - {"aiplat"} - sys.stdlib_module_names
    homeless = {name for name in third if not names(packages.get(name, [])) & (REQUIRED | OPTIONAL)}
    assert homeless == set()


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "docs/dependencies.md").read_text()
    cells = re.findall(r"^\| ([a-z][^|]*) \|", text, re.MULTILINE)
    said = {name.strip() for cell in cells for name in re.sub(r"\[.*\]", "", cell).split(",")}
    assert (REQUIRED | OPTIONAL) - said == set()


def test_the_lock_has_hashes_and_no_addresses() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > len(REQUIRED)
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_gate_is_what_one_runs_at_home() -> None:
    lines = (ROOT / ".ci/run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ['cd "$(dirname "$0")/.." && exec make check test']
