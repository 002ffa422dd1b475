from pathlib import Path

import pytest

from aiplat.config.search import conf_dir, groups, listed, search_path
from aiplat.errors import ConfigError
from tests.config.conftest import write


def test_our_folder_has_the_root_files() -> None:
    assert (conf_dir() / "train.yaml").is_file()


def test_groups_are_the_folders_and_their_files_the_options(conf: Path, tmp_path: Path) -> None:
    write(tmp_path / "mine/exp/more.yaml", "name: more")
    write(tmp_path / "mine/source/deep/er.yaml", "a: 1")
    found = groups(search_path([tmp_path / "mine"]))
    assert list(found) == ["exp", "model", "source/deep"]
    assert list(found["exp"]) == ["astray", "broken", "good", "typos", "more"]
    assert found["exp"]["more"] == tmp_path / "mine/exp/more.yaml"


def test_a_defaults_list_is_read_without_its_overrides_words(conf: Path) -> None:
    assert listed(conf / "job.yaml") == {"model": None, "schedule": None}
    assert listed(conf / "exp/good.yaml") == {"model": "small"}
    assert listed(conf / "exp/broken.yaml") == {}


def test_our_own_folder_may_be_named_again(conf: Path) -> None:
    assert search_path([conf])[0] == conf


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        search_path([tmp_path / "nowhere"])
