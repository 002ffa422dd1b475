"""Columns are found by kind, and what is missing is named."""

import pytest
import torch

from aiplat.datasets.versions import Column, DatasetInfo
from aiplat.errors import ConfigError, DataError
from aiplat.tasks.columns import column_of_kind, misfit, num_rows, require_all, values_of

INFO = DatasetInfo((Column("title", "text"), Column("body", "text"), Column("photo", "image")))


def test_the_only_column_of_a_kind_needs_no_name() -> None:
    assert column_of_kind(INFO, "image", None) == "photo"
    assert column_of_kind(INFO, "text", "body") == "body"


def test_several_none_or_another_kind_are_errors_that_list_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"2 text columns \(title, body\): name one"):
        column_of_kind(INFO, "text", None)
    with pytest.raises(ConfigError, match=r"0 label columns \(none\)"):
        column_of_kind(INFO, "label", None)
    with pytest.raises(ConfigError, match=r"'title'.*no image column .*it has: photo"):
        column_of_kind(INFO, "image", "title")


def test_missing_columns_and_values_are_named() -> None:
    assert num_rows({"a": [1, 2]}) == 2
    with pytest.raises(DataError, match=r"no column 'b' \(they have: a\)"):
        values_of({"a": [1, 2]}, "b")
    with pytest.raises(DataError, match="column 'a', row 1: the value is missing"):
        require_all(torch.tensor([True, False, False]), "a")
    assert "3 bytes (bytes)" in str(misfit("a", 0, "a text", b"abc"))
    assert len(str(misfit("a", 0, "a text", list(range(1000))))) < 150
