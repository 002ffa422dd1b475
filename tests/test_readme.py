"""What README.md and CONTRIBUTING.md tell people to type is there and means something."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from aiplat.config.command import status
from aiplat.jobs.listing import job_purposes
from tests.conf.roots import ROOTS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MAX_LINES = 150
SUBMIT = "ray job submit --working-dir . -- "


def commands(text: str) -> list[str]:
    """The lines of all bash blocks, comments left out."""
    blocks = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.partition("  #")[0].strip() for line in lines if line.strip()]


def inline(text: str) -> list[str]:
    """Calls of jobs in running text that leave nothing for the reader to fill in."""
    found = re.findall(r"`(python -m aiplat\.jobs[^`<]*)`", text)
    return [" ".join(command.split()) for command in found]


def make_targets(text: str) -> set[str]:
    called = re.findall(r"(?:^|`)make ([a-z -]+)", text, re.MULTILINE)
    return {target for names in called for target in names.split()}


EXAMPLES = [
    line.lstrip("# ")
    for file in sorted((ROOT / "conf").glob("*.yaml"))
    for line in file.read_text().splitlines()
    if line.startswith("#   python ")
]


@pytest.mark.parametrize(
    "command", [*commands(README), *inline(README), *inline(CONTRIBUTING), *EXAMPLES]
)
def test_a_command_means_something(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if command.startswith("make "):
        assert command.split()[1:] != []
        return
    program, *arguments = shlex.split(command.removeprefix(SUBMIT))
    assert program == "python"
    module = arguments[1]
    if module == "aiplat":
        return
    name = module.removeprefix("aiplat.jobs.")

    def main(config: object) -> None:
        raise AssertionError("nothing is to be run here")

    given = arguments[2:]
    extra = [] if {"--help", "--cfg"} & set(given) else ["--cfg", "job"]
    assert status(main, name, ROOTS[name], [*extra, *given]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("text", [README, CONTRIBUTING], ids=["README", "CONTRIBUTING"])
def test_make_has_the_targets_that_are_named(text: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert make_targets(text) != set()
    assert make_targets(text) <= targets


def test_the_table_of_verbs_is_the_list_of_jobs() -> None:
    table = re.findall(r"^\| `(\w+)` \|", README, re.MULTILINE)
    assert sorted(table) == sorted(job_purposes())


def test_the_list_of_jobs_can_be_asked_for() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "aiplat"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert set(re.findall(r"aiplat\.jobs\.(\w+)", done.stdout)) == set(ROOTS)


def test_the_tour_exists_and_is_short() -> None:
    tour = re.findall(r"`(aiplat/[\w/]+\.py)`", README)
    assert len(tour) == 5
    assert sum(len((ROOT / name).read_text().splitlines()) for name in tour) < 1500


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= MAX_LINES
