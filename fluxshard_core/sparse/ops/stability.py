"""Which forms of a convolution add up in the same order.

A library may split the sum over the channels differently for another image size or batch, and
then the last bits differ. oneDNN does so for wide 3x3 convolutions. Nothing announces it, so each
form is tried once on random data against the form every other must equal: a fixed small batch of
tiles.
"""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import Padding
from fluxshard_core.sparse.ops.primitive import Primitive

REFERENCE_BATCH = 16
_SAMPLES = 64


class Stability:
    """Remembers, per geometry, which forms equal the reference batch bit for bit."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], bool] = {}

    def batch_is_stable(self, primitive: Primitive, shape: tuple[int, ...]) -> bool:
        """Whether ``shape`` ``(n, h, w, C)`` of tiles computes what the reference batch does."""
        if shape[0] == REFERENCE_BATCH:
            return True
        key = (*primitive.geometry, "batch", shape)
        if key not in self._known:
            tiles = _random(shape, primitive.weight.dtype)
            sample = torch.arange(REFERENCE_BATCH) * shape[0] // REFERENCE_BATCH
            reference = primitive.tiles(tiles[sample])
            self._known[key] = torch.equal(primitive.tiles(tiles)[sample], reference)
        return self._known[key]

    def whole_is_stable(
        self, primitive: Primitive, shape: tuple[int, ...], padding: Padding, tile: tuple[int, int]
    ) -> bool:
        """Whether a whole map ``(1, H, W, C)`` computes what its ``tile``-sized parts do."""
        key = (*primitive.geometry, "whole", shape, padding, tile)
        if key not in self._known:
            image = _random(shape, primitive.weight.dtype)
            self._known[key] = self._compare(primitive, image, padding, tile)
        return self._known[key]

    def _compare(
        self, primitive: Primitive, image: torch.Tensor, padding: Padding, tile: tuple[int, int]
    ) -> bool:
        whole = convolve_whole(primitive, image, padding)
        padded = pad(image, padding)
        (sy, sx), (dy, dx) = primitive.stride, primitive.dilation
        kh, kw = primitive.weight.shape[2:]
        height, width = (
            (tile[0] - 1) * sy + (kh - 1) * dy + 1,
            (tile[1] - 1) * sx + (kw - 1) * dx + 1,
        )
        rows = torch.linspace(0, whole.shape[1] - tile[0], 8).long().tolist()
        cols = torch.linspace(0, whole.shape[2] - tile[1], 8).long().tolist()
        corners = [(row, col) for row in rows for col in cols]
        patches = torch.cat(
            [padded[:, r * sy : r * sy + height, c * sx : c * sx + width] for r, c in corners]
        )
        for start in range(0, _SAMPLES, REFERENCE_BATCH):
            batch = primitive.tiles(patches[start : start + REFERENCE_BATCH].contiguous())
            for (row, col), values in zip(corners[start:], batch, strict=False):
                if not torch.equal(whole[0, row : row + tile[0], col : col + tile[1]], values):
                    return False
        return True


def convolve_whole(primitive: Primitive, x: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Convolve a whole map ``(1, H, W, C)`` with any padding."""
    top, left, bottom, right = padding
    if (top, left) == (bottom, right):
        return primitive(x, (top, left))
    return primitive(pad(x, padding))


def pad(x: torch.Tensor, padding: Padding) -> torch.Tensor:
    """Surround ``(1, H, W, C)`` with zeros."""
    top, left, bottom, right = padding
    return torch.nn.functional.pad(x, (0, 0, left, right, top, bottom))


def _random(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator).to(dtype)
