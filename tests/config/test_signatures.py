import subprocess
import sys
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest

from aiplat.config.signatures import located, signature
from aiplat.errors import ConfigError
from tests.config import parts

HERE = "tests.config.parts"


def test_the_source_says_what_an_import_would() -> None:
    parameters = signature(f"{HERE}.Model").parameters
    assert list(parameters) == [
        "num_classes", "tower", "dropout", "sizes", "others", "named", "kind",
    ]  # fmt: skip
    assert parameters["num_classes"].annotation is int
    assert parameters["sizes"].annotation == tuple[int, ...]
    assert parameters["num_classes"].default is Parameter.empty
    assert parameters["dropout"].kind is Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("name", ["Record", "decorated"])
def test_what_the_source_does_not_settle_is_imported(name: str) -> None:
    assert list(signature(f"{HERE}.{name}").parameters) == ["size"]


def test_imported_names_and_inherited_constructors_are_followed_to_their_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "followed"
    package.mkdir()
    (package / "__init__.py").write_text("from .inner import Thing as Renamed\n")
    (package / "inner.py").write_text(
        "import no_such_package\n\n"
        "class Base:\n    def __init__(self, size: 'int | None') -> None: ...\n\n"
        "class Thing(Base):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert signature("followed.Renamed").parameters["size"].annotation == int | None
    assert "followed" not in sys.modules


def test_torch_is_not_imported_to_check_an_optimizer() -> None:
    program = (
        "import sys\n"
        "from aiplat.config.signatures import signature\n"
        "assert 'lr' in signature('torch.optim.AdamW').parameters\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (f"{HERE}.Modle", "tests.config.parts has no 'Modle'; did you mean 'Model'?"),
        ("tests.config.prats.Model", "tests.config has no 'prats'; did you mean 'parts'?"),
        ("no_such_package.Model", "there is no package 'no_such_package'"),
        ("Model", "expected 'package.module.Name'"),
        ("a b.c", "expected 'package.module.Name'"),
        (f"{HERE}.NOT_CALLABLE", "is a int, expected a class or a function"),
        (f"{HERE}.Model.mak", "tests.config.parts.Model has no 'mak'"),
    ],
)
def test_a_target_that_does_not_exist_names_the_nearest(target: str, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        signature(target)
    assert words in str(refused.value)


def test_a_target_whose_module_needs_a_missing_package_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needy.py").write_text("import no_such_package\n\ndef make() -> None: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"needy\.make needs the package 'no_such_package'"):
        located("needy.make")


def test_compiled_code_without_a_signature_takes_anything() -> None:
    kinds: list[Any] = [item.kind for item in signature("builtins.dict").parameters.values()]
    assert kinds == [Parameter.VAR_KEYWORD]


def test_located_imports_the_thing_itself() -> None:
    assert located(f"{HERE}.Model") is parts.Model
