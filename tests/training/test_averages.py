import torch
from torch import nn

from aiplat.training.averages import Averages


def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(2, 2)


def test_the_average_follows_the_weights_and_lags_behind() -> None:
    net = model()
    averages = Averages(net, decay=0.9)
    start = net.weight.detach().clone()
    goal = start + 1
    with torch.no_grad():
        net.weight.copy_(goal)
    distances = []
    for _ in range(60):
        averages.update()
        with averages.applied():
            distances.append(float((net.weight.detach() - goal).abs().max()))
    assert torch.equal(net.weight, goal), "outside the block the model has its own weights"
    assert distances == sorted(distances, reverse=True)
    assert distances[0] > 0.05
    assert distances[-1] < 0.01


def test_a_saved_average_goes_on_the_same() -> None:
    nets = [model(), model()]
    first = Averages(nets[0], decay=0.9)
    for _ in range(3):
        with torch.no_grad():
            nets[0].weight.add_(1)
        first.update()
    second = Averages(nets[1], decay=0.9)
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        nets[1].weight.copy_(nets[0].weight)
    first.update()
    second.update()
    with first.applied(), second.applied():
        assert torch.equal(nets[0].weight, nets[1].weight)


def test_frozen_weights_are_not_averaged() -> None:
    net = model()
    net.weight.requires_grad_(False)
    assert list(Averages(net, decay=0.9).state_dict()["averaged"]) == ["bias"]


def test_tied_weights_are_handed_over_averaged_under_each_of_their_names() -> None:
    first, second = model(), model()
    second.weight = first.weight
    net = nn.Sequential(first, second)
    averages = Averages(net, decay=0.9)
    start = first.weight.detach().clone()
    with torch.no_grad():
        first.weight.add_(1)
    averages.update()
    assert len(averages.averaged) == 3
    handed_over = net.state_dict() | averages.by_name
    assert torch.equal(handed_over["0.weight"], handed_over["1.weight"])
    assert not torch.equal(handed_over["1.weight"], start + 1)
