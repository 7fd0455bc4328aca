"""Concatenation, channel ranges, sums and products: cell by cell, no neighbourhood."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import Binary, Slice
from fluxshard_core.sparse.tiles import TileSet


class _Free:
    """An operator without multiply-accumulates of a convolution."""

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Nothing that a dense count would include."""
        return 0


class ConcatOperator(_Free):
    """Channels of all inputs, one after the other."""

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Join ``(n, h, w, C_i)``."""
        return torch.cat(values, dim=3)


class SliceOperator(_Free):
    """A range of channels."""

    def __init__(self, node: Slice) -> None:
        self._start, self._length = node.start, node.stop - node.start

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Return a view; most readers copy it into a concatenation or a cache anyway."""
        (x,) = values
        return x.narrow(3, self._start, self._length)


class BinaryOperator(_Free):
    """A sum or product."""

    def __init__(self, node: Binary) -> None:
        self._function = torch.add if node.operator == "add" else torch.mul

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Combine two ``(n, h, w, C)``."""
        first, second = values
        return self._function(first, second)
