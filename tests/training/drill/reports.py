"""A drill report whose numbers are known."""

from dataclasses import replace
from typing import Any

from aiplat.training.drill.losses import Curve, compare
from aiplat.training.drill.plan import Kill
from aiplat.training.drill.recovery import Recovery, Strike
from aiplat.training.drill.report import DrillReport
from aiplat.training.drill.rows import EpochRows

KINDS = ("worker", "node", "driver")


def report(**changes: Any) -> DrillReport:
    """Three kills, one of each kind, after which the run went on in 10, 20 and 30 s."""
    kills = [Kill(number, kind, number * 10, 0) for number, kind in enumerate(KINDS, start=1)]
    strikes = [
        Strike(kill, 1000.0 + 60 * kill.number, kill.step, kill.number, num_workers=4)
        for kill in kills
    ]
    recoveries = [
        Recovery(strike, 1, 10 * strike.kill.number - 4, 1, 2, strike.step - 3, 2, "lost rank 1")
        for strike in strikes
    ]
    drilled = Curve({1: 2.0, 2: 1.01}, {1: 2.0, 2: 1.01})
    undisturbed = [Curve({1: 2.0, 2: last}, {1: 2.0, 2: last}) for last in (1.0, 1.02)]
    whole = DrillReport(
        name="shapes",
        kills=kills,
        strikes=strikes,
        recoveries=recoveries,
        rows=[EpochRows(1, 50, 0, 0, kills=1), EpochRows(2, 50, 0, 0)],
        comparison=compare(drilled, undisturbed, 0.0),
        max_recovery_s=120,
        curves=[drilled, *undisturbed],
        groups=[(1000.0, 4), (1070.0, 2), (1100.0, 3)],
    )
    return replace(whole, **changes)
