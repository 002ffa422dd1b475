"""The documents that are written from the code, and those that name parts of it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from aiplat.jobs.listing import job_purposes

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs/dependencies.md",
    *sorted((ROOT / "docs/guide").glob("*.md")),
    *sorted((ROOT / "docs/decisions").glob("*.md")),
]
FOLDERS = r"(?:aiplat|benchmarks|conf|deploy|docs|jobs|tests)"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "write_reference", ROOT / "docs/write_reference.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_tells_every_job_and_its_keys(writer: ModuleType) -> None:
    page = writer.jobs_page()
    assert re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(job_purposes())
    assert "loop.max_epochs = 10  (int)" in page


def test_the_reference_tells_every_public_name(writer: ModuleType) -> None:
    page = writer.modules_page()
    assert "## aiplat.config.compose\n" in page
    assert "- `join(path: str, key: str)`: The dotted path of `key` below `path`." in page


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documents_name_only_files_there_are(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    named = set(re.findall(rf"\b({FOLDERS}/[\w./-]+\.(?:py|yaml|md|sh))\b", text))
    linked = set(re.findall(r"\]\((?!http|#)([^)#]+)", text))
    lost = {name for name in named if not (ROOT / name).exists()}
    lost |= {name for name in linked if not (page.parent / name).exists()}
    assert lost == set()
