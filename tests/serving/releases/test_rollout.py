"""Candidates that are worse and candidates that are not, as a release sees their requests."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from aiplat.errors import RecordsError
from aiplat.serving.releases.comparison import Comparison
from aiplat.serving.releases.judge import Limits
from aiplat.serving.releases.release import ROLLED_BACK, STOPPED, SUCCEEDED, Release
from aiplat.serving.releases.rollout import Outcome, Plan, Rollout
from aiplat.serving.releases.store import Answered

RELEASE = Release("sizes", "1", "2", began_at=0.0, id="r")


@dataclass
class Behaviour:
    """Of a version: the share of its requests that fail, and how long they take about."""

    fails: float = 0.0
    takes_s: float = 0.02


@dataclass
class Traffic:
    """A database to which users bring requests, so many a second of a clock that is wound by hand.

    disagrees: share of the rows that versions answer differently.
    """

    seed: int = 0
    champion: Behaviour = field(default_factory=Behaviour)
    candidate: Behaviour = field(default_factory=Behaviour)
    disagrees: float = 0.02
    rate: int = 40
    now: float = 0.0
    weight: float = 0.0
    mirror: float = 0.0
    is_away: bool = False
    is_running: bool = True
    weights: list[float] = field(default_factory=list)
    usage: list[Answered] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def sleep(self, seconds: float) -> None:
        for _ in range(int(self.rate * seconds)):
            self.now += 1 / self.rate
            self._ask()

    def _ask(self) -> None:
        is_canary = self.random.random() < self.weight
        name = f"{len(self.usage)}"
        version = self.candidate if is_canary else self.champion
        failed = self.random.random() < version.fails
        if failed and is_canary:
            # The user has the champion's answer.
            self._note(name, "1", "boom", mirrored=False)
        status = 500 if failed and not is_canary else 200
        number = "2" if is_canary and not failed else "1"
        key = f"key{self.random.randrange(50)}"
        seconds = self._seconds(version)
        self.usage.append(Answered(name, self.now, key, number, status, seconds))
        if not failed and self.random.random() < self.mirror:
            error = "boom" if not is_canary and self.random.random() < self.candidate.fails else ""
            self._note(name, number, error)

    def _note(self, name: str, answered_by: str, error: str = "", mirrored: bool = True) -> None:
        disagreeing = sum(self.random.random() < self.disagrees for _ in range(4))
        self.comparisons.append(
            Comparison(
                name,
                "r",
                "sizes",
                answered_by,
                4,
                mirrored,
                0 if error else disagreeing,
                champion_s=self._seconds(self.champion),
                candidate_s=self._seconds(self.candidate),
                error=error,
                at=self.now,
            )
        )

    def _seconds(self, version: Behaviour) -> float:
        return version.takes_s * self.random.lognormvariate(0, 0.4)

    # What a store does.

    def divide(self, release_id: str, weight: float, mirror: float) -> bool:
        self.weight, self.mirror = weight, mirror
        self.weights.append(weight)
        return self.is_running

    def find(self, release_id: str) -> Release:
        return Release("sizes", "1", "2", state=ROLLED_BACK, reason="by hand", id="r")

    def answered(self, release: Release, since: float) -> Sequence[Answered]:
        if self.is_away:
            raise RecordsError("no route")
        return [each for each in self.usage[-2000:] if each.at >= since]

    def compared(self, release: Release, since: float) -> Sequence[Comparison]:
        return [each for each in self.comparisons[-2000:] if each.at >= since]


def roll_out(
    traffic: Traffic,
    steps: Sequence[float] = (0.1, 0.5, 1.0),
    disturbed: Callable[[], str | None] = lambda: None,
    **plan: float,
) -> tuple[Outcome, Rollout]:
    planned = Plan(steps, **{"min_requests": 100, "step_s": 10.0, "timeout_s": 120.0, **plan})  # type: ignore[arg-type]
    rollout = Rollout(
        traffic,  # type: ignore[arg-type]
        RELEASE,
        planned,
        Limits(),
        disturbed=disturbed,
        clock=lambda: traffic.now,
        sleep=traffic.sleep,
    )
    return rollout.run(), rollout


def test_a_candidate_as_good_as_its_champion_goes_through_all_steps() -> None:
    traffic = Traffic()
    outcome, rollout = roll_out(traffic)
    assert (outcome.state, traffic.weights) == (SUCCEEDED, [0.1, 0.5, 1.0])
    assert [step.seen >= 100 for step in rollout.evidence.steps] == [True] * 3
    first = rollout.evidence.steps[0]
    assert first.candidate.requests == pytest.approx(0.2 * first.champion.requests, rel=0.5)


@pytest.mark.parametrize(
    ("traffic", "name"),
    [
        (Traffic(candidate=Behaviour(fails=0.15)), "errors"),
        (Traffic(candidate=Behaviour(takes_s=0.06)), "latency"),
        (Traffic(disagrees=0.5), "disagreement"),
    ],
)
def test_a_worse_candidate_is_rolled_back_and_the_reason_says_why(
    traffic: Traffic, name: str
) -> None:
    outcome, _ = roll_out(traffic)
    assert outcome.state == ROLLED_BACK
    assert traffic.weights[-1] < 1
    assert outcome.reason.startswith(f"{name}: ")
    (harm,) = (found for found in outcome.findings if found.is_harm)
    assert harm.lower > harm.allowed


def test_the_reason_names_what_the_candidate_failed_with() -> None:
    outcome, _ = roll_out(Traffic(candidate=Behaviour(fails=1.0)))
    assert "100.00% of" in outcome.reason
    assert "0.00% of the champion's [boom (" in outcome.reason


@pytest.mark.parametrize(
    "behaviour", [Behaviour(), Behaviour(fails=0.05)], ids=["sound", "often failing"]
)
def test_equal_candidates_are_stopped_no_more_often_than_promised(behaviour: Behaviour) -> None:
    stopped = 0
    for seed in range(200):
        # As different as is just allowed.
        traffic = Traffic(seed, behaviour, behaviour, disagrees=0.1, rate=20)
        outcome, _ = roll_out(traffic, steps=(0.1, 0.5), step_s=20.0)
        stopped += outcome.state == ROLLED_BACK
    assert stopped <= 200 * Limits().alpha


def test_a_candidate_that_looks_worse_is_watched_until_it_is_clear() -> None:
    slower = Behaviour(takes_s=0.04)
    outcome, rollout = roll_out(Traffic(candidate=slower), min_requests=20, step_s=1.0)
    assert (outcome.state, outcome.reason.partition(":")[0]) == (ROLLED_BACK, "latency")
    # It was at no more than a tenth all the while.
    assert [step.weight for step in rollout.evidence.steps] == [0.1]


def test_what_stays_unclear_is_not_released() -> None:
    slower = Behaviour(takes_s=0.04)
    outcome, _ = roll_out(Traffic(candidate=slower), min_requests=10, step_s=1.0, timeout_s=6.0)
    assert outcome.state == STOPPED
    assert outcome.reason.startswith("it is still unclear after timeout_s whether the candidate")
    assert "latency: " in outcome.reason


def test_a_shadow_run_asks_nobody_to_wait_for_the_candidate_and_ends_with_a_verdict() -> None:
    traffic = Traffic(disagrees=0.02)
    outcome, rollout = roll_out(traffic, steps=(0.0,), mirror=0.5, min_requests=1500)
    assert outcome.state == SUCCEEDED
    assert {each.version for each in traffic.usage} == {"1"}
    (step,) = rollout.evidence.steps
    assert step.disagreement / step.compared == pytest.approx(0.02, abs=0.01)
    assert outcome.reason.endswith("with certainty")


def test_few_requests_are_enough_for_no_harm_but_not_for_certainty() -> None:
    outcome, _ = roll_out(Traffic(), steps=(0.0,), mirror=0.5, min_requests=30)
    assert outcome.reason.startswith("no harm was found; too few requests to rule it out for")
    assert "errors" in outcome.reason


def test_a_bad_candidate_is_found_out_in_the_shadow() -> None:
    slow, _ = roll_out(Traffic(candidate=Behaviour(takes_s=0.08)), steps=(0.0, 0.5), mirror=0.5)
    failing, _ = roll_out(Traffic(candidate=Behaviour(fails=0.3)), steps=(0.0, 0.5), mirror=0.5)
    assert slow.reason.startswith("latency")
    assert failing.reason.startswith("errors")


def test_too_little_traffic_is_told_and_ends_the_release() -> None:
    outcome, _ = roll_out(Traffic(rate=5), steps=(0.01,), timeout_s=30.0)
    assert outcome.state == STOPPED
    assert outcome.reason.startswith("too little traffic: ")
    assert "min_requests=100" in outcome.reason
    assert re.search(r"\d+ keys asked, and each keeps to one version", outcome.reason)
    assert "sticky=none" in outcome.reason


def test_a_release_that_someone_else_ended_is_over() -> None:
    outcome, _ = roll_out(Traffic(is_running=False))
    assert (outcome.state, outcome.reason) == (ROLLED_BACK, "by hand")


def test_an_endpoint_that_was_given_another_version_ends_the_release() -> None:
    outcome, _ = roll_out(Traffic(), disturbed=lambda: "the endpoint was given version 7")
    assert (outcome.state, outcome.reason) == (STOPPED, "the endpoint was given version 7")


def test_a_database_that_stays_away_is_an_error() -> None:
    traffic = Traffic(is_away=True)
    with pytest.raises(RecordsError, match="no route"):
        roll_out(traffic)
    assert 55 < traffic.now < 70


def test_records_that_come_late_and_twice_are_counted_once() -> None:
    traffic = Traffic()
    _, rollout = roll_out(traffic, steps=(0.5,))
    before = rollout.evidence.steps[0].champion.requests
    late = Answered("late", traffic.now - 5, "k", "1", 200, 0.02)
    traffic.usage += [late, late, traffic.usage[-1]]
    rollout.evidence.look()
    rollout.evidence.look()
    assert rollout.evidence.steps[0].champion.requests == before + 1
