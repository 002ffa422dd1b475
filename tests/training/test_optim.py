from pathlib import Path

import pytest
import torch
import yaml
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from aiplat.config import targets
from aiplat.errors import ConfigError
from aiplat.training.optim import (
    MakeSchedule,
    constant,
    one_cycle,
    optimizer_from,
    parameter_groups,
    schedule_from,
    warmup_cosine,
)

CONF = Path(__file__).parents[2] / "conf"


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3), nn.Linear(3, 2))


def rates(make: MakeSchedule, total_steps: int, lr: float = 0.1) -> list[float]:
    optimizer = torch.optim.SGD(model().parameters(), lr=lr)
    schedule = make(optimizer, total_steps)
    seen = []
    for _ in range(total_steps):
        seen.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        schedule.step()
    return seen


def test_weight_decay_spares_biases_and_norms() -> None:
    decayed, spared = parameter_groups(model())
    assert [tuple(weight.shape) for weight in decayed["params"]] == [(3, 4), (2, 3)]
    assert [tuple(weight.shape) for weight in spared["params"]] == [(3,), (3,), (3,), (2,)]
    assert spared["weight_decay"] == 0
    assert len(parameter_groups(model(), decay_norms_and_biases=True)) == 1


def test_frozen_parameters_are_left_out_and_nothing_to_train_is_an_error() -> None:
    frozen = model()
    frozen[0].requires_grad_(False)
    assert sum(len(group["params"]) for group in parameter_groups(frozen)) == 4
    with pytest.raises(ConfigError, match="nothing to train"):
        parameter_groups(frozen.requires_grad_(False))


def test_one_cycle_rises_to_the_rate_and_falls_to_almost_nothing() -> None:
    seen = rates(one_cycle, 100)
    assert seen[0] == pytest.approx(0.1 / 25)
    assert max(seen) == pytest.approx(0.1)
    assert seen.index(max(seen)) == 29
    assert seen[-1] == pytest.approx(0.1 * 1e-5)


def test_warmup_cosine_rises_shortly_and_falls_long() -> None:
    seen = rates(lambda optimizer, steps: warmup_cosine(optimizer, steps, 0.1, 0.2), 100)
    assert seen[:10] == sorted(seen[:10])
    assert seen[10] == pytest.approx(0.1)
    assert seen[10:] == sorted(seen[10:], reverse=True)
    assert seen[-1] == pytest.approx(0.02, rel=0.01)


def test_constant_stays_after_its_warmup() -> None:
    assert rates(constant, 5) == [0.1] * 5
    warmed = rates(lambda optimizer, steps: constant(optimizer, steps, 0.2), 10)
    assert warmed[0] < warmed[1] < warmed[2]
    assert warmed[2:] == pytest.approx([0.1] * 8)


@pytest.mark.parametrize("make", [one_cycle, warmup_cosine, constant])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 4, 5, 7, 20])
def test_short_runs_have_schedules_too(make: MakeSchedule, total_steps: int) -> None:
    seen = rates(make, total_steps)
    assert len(seen) == total_steps
    assert all(0 < rate <= 0.1001 for rate in seen)


def test_a_warmup_of_all_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"schedule.warmup_fraction is 1"):
        rates(lambda optimizer, steps: one_cycle(optimizer, steps, 1.0), 10)


def conf(group: str) -> list[Path]:
    files = sorted((CONF / group).glob("*.yaml"))
    assert files, f"no configuration in conf/{group}"
    return files


@pytest.mark.parametrize("path", conf("optim"), ids=lambda path: path.stem)
def test_each_configured_optimizer_learns(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    assert targets.problems("optim", node, {"model", "params"}) == []
    net = model()
    optimizer = optimizer_from(node)(net)
    before = [weight.clone() for weight in net.parameters()]
    net(torch.ones(5, 4)).square().sum().backward()
    optimizer.step()
    assert all((a != b).any() for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.parametrize("path", conf("schedule"), ids=lambda path: path.stem)
def test_each_configured_schedule_is_built(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    assert targets.problems("schedule", node, {"optimizer", "total_steps"}) == []
    optimizer = torch.optim.SGD(model().parameters(), lr=0.1)
    assert isinstance(schedule_from(node)(optimizer, 50), LRScheduler)


def test_any_torch_optimizer_can_be_named_without_parameter_groups() -> None:
    node = {"_target_": "torch.optim.RMSprop", "lr": 0.01}
    assert isinstance(optimizer_from(node)(model()), torch.optim.RMSprop)


def test_a_target_that_is_no_optimizer_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"builtins.dict makes no torch optimizer"):
        optimizer_from({"_target_": "builtins.dict"})(model())
