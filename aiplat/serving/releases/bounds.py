"""What can be said of a share that is looked at again and again."""

import math
from collections.abc import Callable

_HALVINGS = 30


def bounds(total: float, count: int, alpha: float) -> tuple[float, float]:
    """Between which values the mean of independent values from 0 to 1 lies.

    total: the sum of `count` such values; where each is 0 or 1, how many were 1. Holds at every
    moment at once: however often one looks, and whatever one does then, the probability that the
    mean is ever outside is at most `alpha`. An interval for a fixed number of values, such as
    Clopper and Pearson's, promises that for one look only.

    The means whose likelihood is at least alpha times the average likelihood of all means
    (Robbins, Statistical methods related to the law of the iterated logarithm, Annals of
    Mathematical Statistics 41, 1970; by Ville's inequality).
    """
    if count == 0:
        return 0.0, 1.0
    rest = count - total
    average = math.lgamma(total + 1) + math.lgamma(rest + 1) - math.lgamma(count + 2)
    least, mean = average + math.log(alpha), total / count

    def is_inside(value: float) -> bool:
        return total * math.log(value) + rest * math.log1p(-value) >= least

    lower = 0.0 if total <= 0 else _edge(is_inside, mean, 0.0)
    upper = 1.0 if rest <= 0 else _edge(is_inside, mean, 1.0)
    return lower, upper


def _edge(is_inside: Callable[[float], bool], inside: float, outside: float) -> float:
    """Where the values that are inside end, from one that is to one that is not."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        # Of a mean of 0 or 1 the middle may round to it.
        if 0 < middle < 1 and is_inside(middle):
            inside = middle
        else:
            outside = middle
    return outside
