"""The outcome of a drill: what was lost, what was repeated, how long each recovery took."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from aiplat.training.drill.losses import Comparison, Curve
from aiplat.training.drill.plan import Kill
from aiplat.training.drill.recovery import PHASES, Recovery, Strike, percentiles
from aiplat.training.drill.rows import EpochRows

ALL = "all"


@dataclass(frozen=True)
class DrillReport:
    """What a drill found.

    recoveries: what followed each strike. rows: of each epoch. curves: the losses of the drilled
    run and then of the undisturbed ones. groups: when each group of workers began, and how many it
    had. max_recovery_s: the longest that a recovery may take at the 95th percentile.
    """

    name: str
    kills: Sequence[Kill]
    strikes: Sequence[Strike]
    recoveries: Sequence[Recovery | None]
    rows: Sequence[EpochRows]
    comparison: Comparison
    max_recovery_s: float
    curves: Sequence[Curve] = field(default_factory=list)
    groups: Sequence[tuple[float, int]] = field(default_factory=list)

    @property
    def recovered(self) -> dict[str, list[Recovery]]:
        """The recoveries of each kind of kill, and `all` of them."""
        found = [recovery for recovery in self.recoveries if recovery is not None]
        kinds = dict.fromkeys(kill.kind for kill in self.kills)
        groups = {
            kind: [recovery for recovery in found if recovery.strike.kill.kind == kind]
            for kind in kinds
        }
        return {kind: group for kind, group in {**groups, ALL: found}.items() if group}

    @property
    def faults(self) -> list[str]:
        """What the run did not hold of what is promised, in words; empty where it held all."""
        return [*self._row_faults(), *self._loss_faults(), *self._recovery_faults()]

    def to_json(self) -> dict[str, Any]:
        """The report as plain values; times in seconds."""
        return {
            "name": self.name,
            "passed": not self.faults,
            "faults": self.faults,
            "rows": [asdict(rows) for rows in self.rows],
            "loss": {
                "drilled": self.comparison.final,
                "undisturbed": list(self.comparison.undisturbed),
                "gap": self.comparison.gap,
                "noise": self.comparison.noise,
                "widest_epoch_gap": self.comparison.widest,
                "epochs": [curve.epochs for curve in self.curves],
            },
            "recovery_s": {
                kind: {
                    "count": len(group),
                    **{phase: _quantiles(group, phase) for phase in (*PHASES, "total")},
                }
                for kind, group in self.recovered.items()
            },
            "workers": [num_workers for _, num_workers in self.groups],
            "kills": [
                _told(strike, recovery)
                for strike, recovery in zip(self.strikes, self.recoveries, strict=True)
            ],
        }

    def _row_faults(self) -> list[str]:
        return [
            f"epoch {rows.epoch} lost {rows.lost} rows and repeated {rows.repeated}"
            for rows in self.rows
            if rows.lost or rows.repeated
        ]

    def _loss_faults(self) -> list[str]:
        found = self.comparison
        if found.is_within_noise:
            return []
        return [
            f"the final loss is {found.final:.4f}, undisturbed {found.undisturbed[0]:.4f}: further "
            f"apart than the noise of {found.noise:.4f}"
        ]

    def _recovery_faults(self) -> list[str]:
        faults = []
        if missing := len(self.kills) - len(self.strikes):
            faults.append(f"the run ended before the last {missing} of {len(self.kills)} kills")
        pairs = zip(self.strikes, self.recoveries, strict=True)
        lost = [strike.kill.number for strike, recovery in pairs if recovery is None]
        if lost:
            faults.append(f"the log does not tell how the run went on after the kills {lost}")
        group = self.recovered.get(ALL, [])
        if group and (most := percentiles(group, "total")[1]) > self.max_recovery_s:
            faults.append(
                f"recovery took {most:.1f} s at the 95th percentile, at most "
                f"{self.max_recovery_s:g} s are expected"
            )
        return faults


def _quantiles(group: Sequence[Recovery], phase: str) -> dict[str, float]:
    median, most = percentiles(group, phase)
    return {"p50": round(median, 3), "p95": round(most, 3)}


def _told(strike: Strike, recovery: Recovery | None) -> dict[str, Any]:
    told = {
        "number": strike.kill.number,
        "kind": strike.kill.kind,
        "at": strike.at,
        "epoch": strike.epoch,
        "step": strike.step,
        "num_workers": strike.num_workers,
        "damaged": strike.damaged,
    }
    if recovery is None:
        return told
    phases = {phase: round(getattr(recovery, phase), 3) for phase in (*PHASES, "total")}
    return {
        **told,
        "went_on_from_step": recovery.step,
        "num_workers_after": recovery.num_workers,
        "cause": recovery.cause,
        "recovery_s": phases,
    }
