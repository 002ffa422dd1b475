import numpy as np
import pyarrow as pa
import pytest

from aiplat.datasets.statistics import Statistics, described, measure
from aiplat.datasets.versions import Column

COLUMNS = (Column("age", "number"), Column("city", "category"), Column("label", "label"))


def test_merged_parts_say_what_the_whole_says() -> None:
    ages = np.random.default_rng(0).normal(1e6, 1, 1000)
    cities = np.random.default_rng(1).choice(["Bern", "Rom", "Wien"], 1000, p=[0.2, 0.5, 0.3])
    table = pa.table({"age": ages, "city": cities, "label": [0] * 1000})
    statistics = Statistics()
    for start in (0, 7, 500):
        stop = {0: 7, 7: 500, 500: 1000}[start]
        statistics = statistics.merged(measure(table.slice(start, stop - start), COLUMNS))
    age, city, label = described(COLUMNS, statistics)
    assert age.mean == pytest.approx(ages.mean(), rel=1e-12)
    assert age.std == pytest.approx(ages.std(), rel=1e-6)
    assert city.categories == ("Rom", "Wien", "Bern")
    assert label == Column("label", "label")


def test_missing_values_are_left_out_and_ties_go_by_name() -> None:
    table = pa.table(
        {"age": pa.array([1.0, None, 3.0]), "city": pa.array(["b", None, "a"]), "label": [0, 0, 0]}
    )
    age, city, _ = described(COLUMNS, measure(table, COLUMNS))
    assert (age.mean, age.std) == (2.0, 1.0)
    assert city.categories == ("a", "b")


def test_a_column_without_known_values_has_mean_and_std_zero() -> None:
    table = pa.table({"age": pa.array([None], pa.float64()), "city": ["x"], "label": [0]})
    assert described(COLUMNS, measure(table, COLUMNS))[0] == Column("age", "number", 0.0, 0.0)
