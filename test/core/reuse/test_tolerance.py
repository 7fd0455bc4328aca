"""The bound on what a tolerated difference becomes after one operator (docs/correctness.md)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as functional
from torch import Tensor

SLOPES = {
    "relu": (functional.relu, 1.0),
    "leaky_relu": (functional.leaky_relu, 1.0),
    "sigmoid": (torch.sigmoid, 0.25),
    "tanh": (torch.tanh, 1.0),
    "silu": (functional.silu, 1.0998394),
    "hardswish": (functional.hardswish, 1.5),
    "gelu": (functional.gelu, 1.1289042),
}


@pytest.mark.parametrize("name", SLOPES)
def test_activations_grow_a_difference_by_no_more_than_their_constant(name: str) -> None:
    function, constant = SLOPES[name]
    x = torch.linspace(-12, 12, 2_400_001, dtype=torch.float64)
    steepest = (function(x).diff() / x.diff()).abs().max()
    assert steepest <= constant * (1 + 1e-7)
    assert steepest >= constant * (1 - 1e-4), "the constant is the smallest that holds"


def grown(difference: Tensor, weight: Tensor, bias: float) -> Tensor:
    """How far SiLU(conv(x)) moves when every input moves by ``difference`` times its sign."""
    x = torch.zeros(1, *weight.shape[1:], dtype=torch.float64)
    offset = torch.full((1,), bias, dtype=torch.float64)
    before = functional.silu(functional.conv2d(x, weight, offset))
    moved = functional.silu(functional.conv2d(x + difference * weight.sign(), weight, offset))
    return (moved - before).abs().max()


def test_inputs_within_tau_over_the_l1_norm_keep_an_output_within_tau() -> None:
    """Tight for the worst inputs, and false for SiLU without its constant."""
    weight = torch.randn(
        1, 8, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    tau = 0.05
    tolerance = tau / weight.abs().sum()
    worst = max(float(grown(tolerance, weight, bias)) for bias in torch.linspace(-6, 6, 241))
    assert tau < worst <= tau * 1.0998394
    worst = max(
        float(grown(tolerance / 1.0998394, weight, bias)) for bias in torch.linspace(-6, 6, 241)
    )
    assert 0.999 * tau < worst <= tau
