"""Every form in which a module may answer `configure_optimizers`."""

from typing import Any

import pytest
import torch
from torch.optim import LBFGS, SGD, Optimizer
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau

from aiplat.errors import ConfigError
from aiplat.training.lightning.optimizers import ModuleSchedule, parse_optimizers


def sgd() -> Optimizer:
    return SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


ONE = sgd()
FALL = ExponentialLR(ONE, 0.5)
PLATEAU = ReduceLROnPlateau(ONE)


@pytest.mark.parametrize(
    ("answer", "schedule"),
    [
        (ONE, None),
        ([ONE], None),
        ({"optimizer": ONE}, None),
        ([{"optimizer": ONE}], None),
        (([ONE], [FALL]), ModuleSchedule(FALL)),
        (([ONE], FALL), ModuleSchedule(FALL)),
        (([ONE], []), None),
        ({"optimizer": ONE, "lr_scheduler": FALL}, ModuleSchedule(FALL)),
        (([ONE], [{"scheduler": FALL, "interval": "step"}]), ModuleSchedule(FALL, "step")),
        (
            {"optimizer": ONE, "lr_scheduler": {"scheduler": FALL, "frequency": 3, "name": "x"}},
            ModuleSchedule(FALL, frequency=3),
        ),
        (
            {"optimizer": ONE, "lr_scheduler": PLATEAU, "monitor": "val_loss"},
            ModuleSchedule(PLATEAU, monitor="val_loss"),
        ),
        (
            ([ONE], [{"scheduler": PLATEAU, "monitor": "val_loss"}]),
            ModuleSchedule(PLATEAU, monitor="val_loss"),
        ),
    ],
)
def test_one_optimizer_is_found_in_every_form(answer: Any, schedule: ModuleSchedule | None) -> None:
    assert parse_optimizers(answer) == (ONE, schedule)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (None, "expected a torch optimizer, got NoneType"),
        ([ONE, sgd()], "it makes 2 optimizers, the loop steps one"),
        (([ONE], [FALL, FALL]), "it makes 2 learning rate schedules"),
        ([{"optimizer": ONE}, {"optimizer": ONE}], "it makes 2 optimizers"),
        (LBFGS([torch.nn.Parameter(torch.zeros(1))]), "LBFGS evaluates the loss several times"),
        (([ONE], [{"scheduler": 3}]), "expected a torch learning rate schedule, got int"),
        (([ONE], [{"scheduler": FALL, "interval": "batch"}]), "interval is 'batch'"),
        (([ONE], [{"scheduler": FALL, "frequency": 0}]), "frequency is 0"),
        (([ONE], [PLATEAU]), "takes a monitor"),
    ],
)
def test_what_is_no_single_optimizer_is_refused(answer: Any, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        parse_optimizers(answer)


def test_a_schedule_moves_at_its_frequency_and_goes_on_from_its_state() -> None:
    optimizer = sgd()
    schedule = ModuleSchedule(ExponentialLR(optimizer, 0.5), "step", frequency=2)
    for _ in range(3):
        optimizer.step()
        schedule.step()
        schedule.end_epoch({}, is_measured=True)
    again = sgd()
    resumed = ModuleSchedule(ExponentialLR(again, 0.5), "step", frequency=2)
    again.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    again.step()
    resumed.step()
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert resumed.scheduler.get_last_lr() == [0.25]
