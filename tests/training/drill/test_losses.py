from typing import Any

import pytest

from aiplat.training.drill.losses import Curve, compare, loss_curve


def step(number: int, epoch: int, loss: float) -> dict[str, Any]:
    return {"kind": "step", "step": number, "epoch": epoch, "loss": loss}


def ending_at(loss: float) -> Curve:
    return Curve({1: 3.0, 2: loss}, {1: 3.0, 2: loss})


def test_a_step_done_again_counts_as_it_was_done_last() -> None:
    events = [step(1, 1, 4.0), step(2, 1, 9.0), {"kind": "start"}, step(2, 1, 2.0), step(3, 2, 1.0)]
    curve = loss_curve(events)
    assert curve.steps == {1: 4.0, 2: 2.0, 3: 1.0}
    assert curve.epochs == {1: 3.0, 2: 1.0}
    assert curve.final == 1.0


@pytest.mark.parametrize(
    ("final", "is_within"), [(0.50, True), (0.59, True), (0.41, True), (0.61, False)]
)
def test_another_seed_shows_how_much_is_noise(final: float, is_within: bool) -> None:
    found = compare(ending_at(final), [ending_at(0.5), ending_at(0.6)], tolerance=0.01)
    assert found.noise == pytest.approx(0.1)
    assert found.is_within_noise is is_within


def test_seeds_that_agree_by_chance_leave_the_tolerance() -> None:
    found = compare(ending_at(0.51), [ending_at(0.5), ending_at(0.5)], tolerance=0.05)
    assert found.noise == pytest.approx(0.025)
    assert found.is_within_noise


def test_the_widest_gap_is_that_of_the_worst_epoch() -> None:
    disturbed = Curve({}, {1: 2.0, 2: 0.5})
    assert compare(disturbed, [ending_at(0.5)], 0.1).widest == 1.0


def test_a_loss_that_is_no_number_is_not_within_noise() -> None:
    assert not compare(ending_at(float("nan")), [ending_at(0.5)], 0.1).is_within_noise
