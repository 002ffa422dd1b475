"""Write docs/reference: what every job takes and every module holds, from their docstrings."""

import ast
import importlib
import typing
from collections.abc import Iterator
from pathlib import Path

from aiplat.config.description import description
from aiplat.jobs.listing import job_purposes

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs/reference"
ORIGIN = "Written by `make docs` from the code; change it there."


def jobs_page() -> str:
    """What `--help` of each job says."""
    parts = [f"# Jobs\n\n{ORIGIN}\n"]
    for name in job_purposes():
        job = importlib.import_module(f"aiplat.jobs.{name}")
        root = typing.get_type_hints(job.main)["config"]
        parts.append(f"## {name}\n\n```text\n{description(job.main, name, root)}```\n")
    return "\n".join(parts)


def modules_page() -> str:
    """Every module with its public classes and functions, each with the first line of its text."""
    parts = [f"# Modules\n\n{ORIGIN}\n"]
    for file in sorted((ROOT / "aiplat").rglob("*.py")):
        tree = ast.parse(file.read_text())
        path = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        parts.append(f"## {path}\n\n{ast.get_docstring(tree) or ''}\n")
        if entries := list(_entries(tree.body)):
            parts.append("\n".join(entries) + "\n")
    return "\n".join(parts)


def _entries(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            called = f"({ast.unparse(node.args)})" if isinstance(node, ast.FunctionDef) else ""
            yield f"- `{node.name}{called}`: {first}"


def main() -> None:
    """Write both pages."""
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "jobs.md").write_text(jobs_page())
    (TARGET / "modules.md").write_text(modules_page())


if __name__ == "__main__":
    main()
