"""Imports point down, siblings stay apart, only the cluster knows Ray, and files stay short."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aiplat.jobs.listing import job_purposes

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "aiplat"
LAYERS = (
    ("jobs",),
    ("cluster",),
    ("serving",),
    ("inference", "tuning", "doctor"),
    ("training",),
    ("registry", "tracking"),
    ("tasks",),
    ("models", "datasets"),
    ("config", "store", "client"),
    ("errors",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
MAX_LINES = 400
MAX_LINES_OF_A_JOB = 80
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [file.relative_to(ROOT).as_posix() for file in FILES]


def part(file: Path) -> str:
    """The layer's member a file belongs to; empty for those that stand above all of them."""
    name = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name in ("__init__", "__main__") else name


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and dotted path of everything imported anywhere in a module, functions included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            yield from ((node.lineno, f"{source}.{alias.name}") for alias in node.names)


def offences(file: Path, source: str) -> list[str]:
    """The imports of a file that its layer does not allow."""
    found = []
    here = part(file)
    for line, path in imports(ast.parse(source)):
        names = path.split(".")
        where = f"{file.relative_to(ROOT)}:{line} imports {path}"
        if path.startswith("."):
            found.append(f"{where}: imports are absolute here")
        elif names[0] == "ray" and (here != "cluster" or file.stem == "scale"):
            found.append(f"{where}: only aiplat/cluster does, and not its scale.py")
        elif names[0] == "aiplat" and names[1:] and here:
            there = names[1]
            if there not in LEVELS:
                found.append(f"{where}: {there!r} is in no layer")
            elif there != here and LEVELS[there] <= LEVELS[here]:
                found.append(f"{where}: {there} is not below {here}")
    return found


def test_every_part_of_the_package_is_in_a_layer() -> None:
    assert len(FILES) > len(LEVELS)
    assert {part(file) for file in FILES} - {""} <= LEVELS.keys()


@pytest.mark.parametrize("name", NAMES)
def test_imports_point_down(name: str) -> None:
    assert offences(ROOT / name, (ROOT / name).read_text()) == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("tasks/x.py", "from aiplat.training.loop import fit"),
        ("tasks/x.py", "def late():\n    import aiplat.cluster.train"),
        ("models/x.py", "from aiplat.datasets import versions"),
        ("training/x.py", "def late():\n    import ray.train"),
        ("cluster/scale.py", "import ray"),
        ("cluster/train.py", "from aiplat.jobs import schema"),
        ("client/x.py", "from aiplat.store import files"),
        ("tasks/x.py", "from .task import Task"),
        ("tasks/x.py", "from aiplat.utils import anything"),
    ],
)
def test_an_import_that_points_elsewhere_is_found(name: str, source: str) -> None:
    assert len(offences(PACKAGE / name, source)) == 1


def test_the_client_does_without_what_trains_and_serves() -> None:
    """Whoever only asks an endpoint should not wait for these, nor need them."""
    heavy = "{'torch', 'ray', 'numpy', 'fastapi', 'hydra'}"
    code = f"import sys, aiplat.client; sys.exit(str({heavy} & sys.modules.keys() or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("folder", ["aiplat", "tests", "benchmarks", "docs"])
def test_no_file_is_longer_than_a_reader_can_hold(folder: str) -> None:
    files = (ROOT / folder).rglob("*.py")
    lengths = {file.relative_to(ROOT): len(file.read_text().splitlines()) for file in files}
    assert {file: length for file, length in lengths.items() if length > MAX_LINES} == {}


def test_the_mains_of_jobs_are_short() -> None:
    mains = [PACKAGE / f"jobs/{name}.py" for name in job_purposes()]
    lengths = {file.name: len(file.read_text().splitlines()) for file in mains}
    assert lengths
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES_OF_A_JOB} == {}
