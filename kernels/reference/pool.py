"""Pools over a window and nearest enlargement, cell by cell."""

from __future__ import annotations

from typing import Literal

import torch

Pair = tuple[int, int]


def pool_cell(
    feature: torch.Tensor,
    kind: Literal["max", "avg"],
    cell: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Pair,
) -> torch.Tensor:
    """Return output ``(C,)`` of one cell of ``feature`` ``(H, W, C)``.

    Outside the map a maximum sees nothing (minus infinity) and a mean counts zeros.
    """
    seen = []
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            row, col = cell[0] * stride[0] - padding[0] + i, cell[1] * stride[1] - padding[1] + j
            if 0 <= row < feature.shape[0] and 0 <= col < feature.shape[1]:
                seen.append(feature[row, col].double())
    if not seen:
        outside = float("-inf") if kind == "max" else 0.0
        return torch.full((feature.shape[2],), outside, dtype=torch.float64)
    values = torch.stack(seen)
    return values.amax(dim=0) if kind == "max" else values.sum(dim=0) / (kernel[0] * kernel[1])


def upsample_nearest(feature: torch.Tensor, factor: int) -> torch.Tensor:
    """Return ``(H * factor, W * factor, C)``: every cell repeated ``factor`` times both ways."""
    height, width, channels = feature.shape
    out = feature.new_empty(height * factor, width * factor, channels)
    for row in range(height * factor):
        for col in range(width * factor):
            out[row, col] = feature[row // factor, col // factor]
    return out
