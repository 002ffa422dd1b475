"""By what a group's GPUs exchange gradients, and what is said of one that is not there."""

from typing import Any

import pytest

from aiplat.errors import ClusterError

# Importing Ray Train warns of what its dependencies are going to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Sight = tuple[str, bool, bool]
REAL, SIMULATED, BLIND = ("a", False, True), ("b", True, False), ("c", False, False)


class Workers:
    """A worker group that only says what its workers see."""

    def __init__(self, sights: list[Sight]) -> None:
        self.sights = sights

    def execute(self, _call: Any) -> list[Sight]:
        return self.sights


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The backends that Ray Train was told to start."""
    from ray.train.torch.config import TorchConfig, _TorchBackend

    told: list[str] = []

    def on_start(_self: Any, _group: Any, config: TorchConfig) -> None:
        told.append(str(config.backend))

    monkeypatch.setattr(_TorchBackend, "on_start", on_start)
    return told


def start(*sights: Sight) -> None:
    from aiplat.cluster.backend import GpuConfig

    config = GpuConfig()
    config.backend_cls().on_start(Workers(list(sights)), config)


def test_gpus_exchange_by_nccl_and_those_that_are_made_up_by_gloo(started: list[str]) -> None:
    start(REAL, REAL)
    start(SIMULATED, SIMULATED)
    assert started == ["nccl", "gloo"]


def test_a_gpu_that_torch_does_not_see_is_told_with_its_node(started: list[str]) -> None:
    with pytest.raises(ClusterError, match=r"torch sees no GPU on c, which gave one to a worker"):
        start(REAL, BLIND)
    assert started == []
