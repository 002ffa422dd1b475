import random

from aiplat.datasets.config import SplitConfig
from aiplat.datasets.splits import assign

GROUPS = [str(number).encode() for number in range(4000)]


def test_a_row_keeps_its_split_when_others_come_and_go() -> None:
    splits = dict(zip(GROUPS, assign([None] * 4000, GROUPS, SplitConfig()), strict=True))
    some = random.Random(0).sample(GROUPS, 500)
    assert assign([None] * 500, some, SplitConfig()) == [splits[group] for group in some]


def test_the_cut_is_about_as_large_as_asked_for_and_depends_on_the_seed() -> None:
    splits = assign([None] * 4000, GROUPS, SplitConfig(val=0.2, test=0.1))
    assert abs(splits.count("val") - 800) < 120
    assert abs(splits.count("test") - 400) < 90
    assert assign([None] * 4000, GROUPS, SplitConfig(val=0.2, test=0.1, seed=1)) != splits


def test_rows_of_one_group_stay_together() -> None:
    groups = [GROUPS[number % 50] for number in range(500)]
    splits = assign([None] * 500, groups, SplitConfig(val=0.3, test=0.3))
    assert len(set(zip(groups, splits, strict=True))) == 50
    assert set(splits) == {"train", "val", "test"}


def test_splits_that_the_source_has_are_kept_and_val_is_cut_from_train() -> None:
    given: list[str | None] = ["train", "test"] * 2000
    splits = assign(given, GROUPS, SplitConfig(val=0.25, test=0.25))
    assert splits[1::2] == ["test"] * 2000
    assert set(splits[::2]) == {"train", "val"}
    assert abs(splits[::2].count("val") - 500) < 100


def test_nothing_is_cut_where_the_source_has_all_three() -> None:
    given = ["train"] * 3000 + ["val"] * 500 + ["test"] * 500
    assert assign(given, GROUPS, SplitConfig(val=0.4, test=0.4)) == given
