"""Rows of numbers and categories: each for itself, and every input counts."""

import torch

from aiplat.models.tabular import TabularNetwork


def test_every_input_changes_the_scores() -> None:
    torch.manual_seed(0)
    model = TabularNetwork(2, num_numbers=2, category_sizes=(3, 40), widths=(8,)).eval()
    numbers, missing = torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)
    categories = torch.ones(1, 2, dtype=torch.int64)
    first = model(numbers, missing, categories)
    assert not torch.equal(model(numbers + 1, missing, categories), first)
    assert not torch.equal(model(numbers, ~missing, categories), first)
    assert not torch.equal(model(numbers, missing, categories + 1), first)


def test_a_table_may_be_of_numbers_or_of_categories_alone() -> None:
    nothing = torch.zeros(2, 0)
    numbers = TabularNetwork(2, num_numbers=3, category_sizes=())
    assert numbers(torch.zeros(2, 3), torch.zeros(2, 3), nothing.long()).shape == (2, 2)
    categories = TabularNetwork(2, num_numbers=0, category_sizes=(4,))
    assert categories(nothing, nothing, torch.zeros(2, 1, dtype=torch.int64)).shape == (2, 2)
