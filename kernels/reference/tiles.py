"""Gather and scatter, one cell at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch

Pair = tuple[int, int]


def gather_patches(
    feature: torch.Tensor, corners: Sequence[Pair], extent: Pair, pad_value: float = 0.0
) -> torch.Tensor:
    """Return ``(n, *extent, C)``: the cells from each corner on, ``pad_value`` outside the map."""
    height, width, channels = feature.shape
    patches = feature.new_full((len(corners), *extent, channels), pad_value)
    for index, (top, left) in enumerate(corners):
        for i in range(extent[0]):
            for j in range(extent[1]):
                row, col = top + i, left + j
                if 0 <= row < height and 0 <= col < width:
                    patches[index, i, j] = feature[row, col]
    return patches


def scatter_tiles(
    feature: torch.Tensor, corners: Sequence[Pair], tiles: torch.Tensor
) -> torch.Tensor:
    """Return a copy of ``feature`` with ``tiles`` ``(n, h, w, C)`` written at ``corners``."""
    out = feature.clone()
    for (top, left), tile in zip(corners, tiles, strict=True):
        for i in range(tile.shape[0]):
            for j in range(tile.shape[1]):
                out[top + i, left + j] = tile[i, j]
    return out


def move_cells(feature: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Return the map in which cell ``c`` holds ``feature[c - shift[c]]``; NaN from outside.

    ``shift`` ``(2, H, W)`` whole cells, ``(dy, dx)``.
    """
    height, width, _ = feature.shape
    out = torch.full_like(feature, float("nan"))
    for i in range(height):
        for j in range(width):
            row, col = i - int(shift[0, i, j]), j - int(shift[1, i, j])
            if 0 <= row < height and 0 <= col < width:
                out[i, j] = feature[row, col]
    return out
