"""Where the cells of one level lie in memory, and how a shift of the frame moves them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.nodes import Pair, Window
from fluxshard_core.sparse.tiles import TileGrid, TileSet

SLACK_SHARE = 1 / 32  # of the frame's height, above and below


@dataclass(frozen=True)
class Patch:
    """The rectangle of input that one tile of output reads.

    Along each axis a tile whose first output cell is ``o`` reads the ``extent`` cells from
    ``floor((o * stride + offset) / divisor)``; negative ones lie in the halo.
    """

    extent: Pair
    offset: Pair = (0, 0)
    stride: Pair = (1, 1)
    divisor: Pair = (1, 1)

    @cached_property
    def _hash(self) -> int:
        return hash((self.extent, self.offset, self.stride, self.divisor))

    def __hash__(self) -> int:
        """Patches are keys of every gather: computed once."""
        return self._hash

    @classmethod
    def of(cls, window: Window, tile_shape: Pair) -> Patch:
        """Return the patch of a sliding window under a tile of ``tile_shape`` outputs."""
        height, width = (
            (size - 1) * step + extent
            for size, step, extent in zip(tile_shape, window.stride, window.extent, strict=True)
        )
        return cls((height, width), (-window.padding[0], -window.padding[1]), window.stride)

    def first(self, output: int, axis: int) -> int:
        """First input cell read by a tile that starts at ``output``."""
        return (output * self.stride[axis] + self.offset[axis]) // self.divisor[axis]

    def origins(self, tiles: TileSet) -> tuple[torch.Tensor, torch.Tensor]:
        """First row and column ``(n,)`` int64 of each tile's patch."""
        top, left = (self._first(start, axis) for axis, start in enumerate((tiles.top, tiles.left)))
        return top, left

    def _first(self, start: torch.Tensor, axis: int) -> torch.Tensor:
        first = start * self.stride[axis] + self.offset[axis]
        divisor = self.divisor[axis]
        return first if divisor == 1 else first.div_(divisor, rounding_mode="floor")


@lru_cache(maxsize=64)
def tile_patch(tile_shape: Pair) -> Patch:
    """Return the patch that is the tile itself."""
    return Patch(tile_shape)


@dataclass(frozen=True)
class Halo:
    """Rings of padding around a frame that some operator reads: rows above, below, and columns."""

    top: int = 0
    bottom: int = 0
    columns: int = 0

    @classmethod
    def around(cls, level: Level, readers: Iterable[tuple[Patch, TileGrid]]) -> Halo:
        """Return the smallest halo over ``level`` for every ``(patch, output grid)``."""
        top = bottom = columns = 0
        for patch, grid in readers:
            last = [
                patch.first(size - tile, axis) + patch.extent[axis]
                for axis, (size, tile) in enumerate(
                    zip(grid.level.shape, grid.tile_shape, strict=True)
                )
            ]
            top = max(top, -patch.first(0, 0))
            bottom = max(bottom, last[0] - level.height)
            columns = max(columns, -patch.first(0, 1), last[1] - level.width)
        return cls(top, bottom, columns)


class LevelLayout:
    """Placement shared by all cached maps of one level: row ``i``, column ``j`` is cell
    ``origin + i * pitch + j`` of a flat buffer.

    Rows are ``columns`` cells further apart than they are wide: the gap is the right halo of one
    row and the left halo of the next. When the whole frame shifts, ``origin`` moves instead of
    the cells; ``slack`` cells of room at both ends bound how far.
    """

    def __init__(self, level: Level, halo: Halo, *, slack_share: float = SLACK_SHARE) -> None:
        """``slack_share``: room at either end as a share of the frame's height."""
        self.level = level
        self.halo = halo
        self.pitch = level.width + halo.columns
        slack_rows = math.ceil(level.height * slack_share)
        self.slack = slack_rows * self.pitch + slack_rows
        self.centre = self.slack + halo.top * self.pitch + halo.columns
        self.origin = self.centre
        self.size = (
            self.centre + (level.height + halo.bottom) * self.pitch + halo.columns + self.slack
        )

    def displacement(self, shift: Pair) -> int:
        """How far ``origin`` must move for the content to move by ``shift`` ``(dy, dx)``."""
        return -(shift[0] * self.pitch + shift[1])

    def has_room(self, displacement: int) -> bool:
        """Whether ``origin`` may move by ``displacement`` inside the buffer."""
        return abs(self.origin + displacement - self.centre) <= self.slack

    def flat(self, cells: torch.Tensor) -> torch.Tensor:
        """Positions in the buffer of row-major cell indices of the frame."""
        return cells + torch.div(cells, self.level.width, rounding_mode="floor").mul_(
            self.halo.columns
        ).add_(self.origin)

    def segments(self, tiles: TileSet, patch: Patch) -> torch.Tensor:
        """Positions ``(n * extent[0],)`` of the row segments that make up each tile's patch."""
        key = (self, self.origin, patch)
        return tiles.shared(key, lambda: self._segments(tiles, patch))

    def _segments(self, tiles: TileSet, patch: Patch) -> torch.Tensor:
        top, left = patch.origins(tiles)
        first = top.mul_(self.pitch).add_(left).add_(self.origin)
        rows = torch.arange(patch.extent[0]) * self.pitch
        return (first[:, None] + rows).reshape(-1)

    def outside(self, tiles: TileSet, patch: Patch) -> torch.Tensor:
        """Indices of the gathered cells ``(n, *extent)``, flattened, that lie outside the frame."""
        key = ("outside", self, patch)
        return tiles.shared(key, lambda: self._outside(tiles, patch))

    def _outside(self, tiles: TileSet, patch: Patch) -> torch.Tensor:
        top, left = patch.origins(tiles)
        rows = top[:, None] + torch.arange(patch.extent[0])
        cols = left[:, None] + torch.arange(patch.extent[1])
        bad_rows = (rows < 0) | (rows >= self.level.height)
        bad_cols = (cols < 0) | (cols >= self.level.width)
        return (bad_rows[:, :, None] | bad_cols[:, None, :]).reshape(-1).nonzero().reshape(-1)
