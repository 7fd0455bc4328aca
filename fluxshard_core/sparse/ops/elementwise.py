"""Activations as PyTorch computes them."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as functional

from fluxshard_core.sparse.nodes import Activation, PointwiseKind

_PLAIN: dict[PointwiseKind, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "gelu": functional.gelu,
}


def activate(activation: Activation, values: torch.Tensor) -> torch.Tensor:
    """Apply ``activation`` with PyTorch's own kernel."""
    if activation.kind == "leaky_relu":
        return functional.leaky_relu(values, activation.slope)
    return _PLAIN[activation.kind](values)
