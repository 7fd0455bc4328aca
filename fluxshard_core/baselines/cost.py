"""Multiply-accumulates of a dense run at any input size."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

_SIDE = 64


@dataclass(frozen=True)
class DenseCost:
    """``linear * area + quadratic * area ** 2``: convolutions and self-attention over all cells.

    Exact for fully convolutional networks with global self-attention at sizes that are multiples
    of the deepest stride; ``area`` is in pixels.
    """

    linear: Fraction
    quadratic: Fraction

    @classmethod
    def of(cls, network: nn.Module) -> DenseCost:
        """Count two small runs of ``network``, which takes ``(1, 3, H, W)`` float32."""
        small, large = _SIDE * _SIDE, 2 * _SIDE * _SIDE
        cost_small = Fraction(_count(network, _SIDE, _SIDE))
        cost_large = Fraction(_count(network, _SIDE, 2 * _SIDE))
        quadratic = (cost_large / large - cost_small / small) / (large - small)
        return cls(cost_small / small - quadratic * small, quadratic)

    def multiply_accumulates(self, height: int, width: int) -> int:
        """Return those of one dense run on a ``height x width`` input."""
        area = height * width
        return round(self.linear * area + self.quadratic * area * area)


@torch.inference_mode()
def _count(network: nn.Module, height: int, width: int) -> int:
    image = torch.zeros(1, 3, height, width)
    with FlopCounterMode(display=False) as counter:
        network(image)
    return int(counter.get_total_flops()) // 2
