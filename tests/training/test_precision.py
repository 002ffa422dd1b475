import pytest
import torch
from torch import nn

from aiplat.training.precision import choose_precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_the_forward_pass_computes_in_the_named_precision(name: str, dtype: torch.dtype) -> None:
    with choose_precision(name, CPU).autocast():
        assert nn.Linear(4, 4)(torch.ones(2, 4)).dtype == dtype


def test_auto_is_bf16_only_where_the_cpu_has_instructions_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for capabilities, expected in (
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bf16"),
        ({"avx512_f": True}, "fp32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert choose_precision("auto", CPU).name == expected


def test_fp16_gradients_are_scaled_for_the_backward_pass_and_not_for_the_update() -> None:
    precision = choose_precision("fp16", CPU)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    precision.scaled(weight.sum()).backward()
    assert weight.grad is not None
    assert weight.grad.item() > 1000
    precision.unscale(optimizer)
    assert weight.grad.item() == 1
    assert precision.step(optimizer)
    assert weight.item() == 0.5


def test_an_overflowing_fp16_step_is_left_out_and_the_scale_halved_for_good() -> None:
    precision = choose_precision("fp16", CPU)
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    assert precision.scaler is not None
    before = precision.scaler.get_scale()
    precision.scaled(weight.sum() * float("inf")).backward()
    assert not precision.step(optimizer)
    assert weight.item() == 1
    again = choose_precision("fp16", CPU)
    assert again.scaler is not None
    again.scaler.load_state_dict(precision.scaler.state_dict())
    assert again.scaler.get_scale() == before / 2
