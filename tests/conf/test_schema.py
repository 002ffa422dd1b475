"""The dataclasses of jobs/schema.py against the code that reads them."""

import re
from typing import Any

import pytest

from aiplat.config import sections, targets
from aiplat.config.search import conf_dir
from aiplat.jobs import schema
from aiplat.tasks.build import MODEL_PROVIDED, TASK_PROVIDED
from tests.conf.roots import ROOTS

PACKAGE = conf_dir().parent / "aiplat"
# A section that checks a value does not thereby use it.
_CHECK = re.compile(r"\n    def __post_init__.*?(?=\n    def |\n    @|\n\S|\Z)", re.DOTALL)
READ = {
    name
    for file in PACKAGE.rglob("*.py")
    for name in re.findall(r"\.(\w+)", _CHECK.sub("", file.read_text()))
}


def described() -> list[str]:
    """Every dotted key of every root."""
    return sorted({path for root in ROOTS.values() for path in sections.key_paths(root)})


def provided(root: type[Any], name: str) -> set[str]:
    """What the platform passes to the pluggable node `name`."""
    return set(
        next(
            item.metadata[targets.PROVIDED]
            for item, _ in sections.fields(root)
            if item.name == name
        )
    )


@pytest.mark.parametrize("path", described())
def test_no_key_without_a_reader(path: str) -> None:
    assert path.rpartition(".")[2] in READ


def test_the_checker_knows_what_models_and_tasks_are_given() -> None:
    assert provided(schema.TrainConfig, "model") == set(MODEL_PROVIDED)
    assert provided(schema.TrainConfig, "task") == set(TASK_PROVIDED)
