import pytest

from aiplat.errors import ConfigError
from aiplat.registry.config import RegisterConfig


@pytest.mark.parametrize("name", ["clip", "clip-v1.2_b", "modèle", "v3"])
def test_names_that_fit_references_and_urls_are_taken(name: str) -> None:
    assert RegisterConfig(name=name).name == name


@pytest.mark.parametrize("name", ["", "a@b", "a:3", "a/b", "a b", ".hidden"])
def test_a_name_that_would_break_a_reference_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="a model's name has letters"):
        RegisterConfig(name=name)


@pytest.mark.parametrize("alias", ["", "3", "v3", "latest", "a b", "a@b"])
def test_an_alias_that_reads_as_a_version_is_refused(alias: str) -> None:
    with pytest.raises(ConfigError, match="an alias begins with a letter"):
        RegisterConfig(name="clip", alias=alias)


def test_a_run_is_not_registered_until_a_name_is_set() -> None:
    assert RegisterConfig() == RegisterConfig(name=None, alias="champion")
