"""Ports that clusters of one machine do not take from each other."""

import pytest

from aiplat.cluster.ports import own_range
from aiplat.errors import ClusterError


def test_ranges_are_given_once_until_there_are_none() -> None:
    among = range(31_000, 31_020)
    with own_range(10, among) as one, own_range(10, among) as other:
        assert {one, other} == {31_000, 31_010}
        with pytest.raises(ClusterError, match="31000 to 31019"), own_range(10, among):
            pass
    with own_range(10, among) as again:
        assert again in (one, other)
