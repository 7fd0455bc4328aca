"""Tiles: the square patches of a level that are recomputed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch

from fluxshard_core.reuse.block_motion import any_of
from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.plan import Plan

Bool = npt.NDArray[np.bool_]
Index = npt.NDArray[np.intp]

MINIMUM_BATCH = 2
BUCKETS_PER_OCTAVE = 8


def bucket(count: int) -> int:
    """Round a batch of tiles up to one of a few sizes, at most 1/8 more.

    A primitive is built per batch size (about half a millisecond each), so a new size every frame
    would cost more than the padding. One alone is never used: libraries treat it as a special
    case with another summation order.
    """
    if count <= MINIMUM_BATCH:
        return MINIMUM_BATCH
    step = max(1, (1 << (count - 1).bit_length()) // (2 * BUCKETS_PER_OCTAVE))
    return -(-count // step) * step


@dataclass(frozen=True)
class TileGrid:
    """A level cut into tiles of ``size`` cells a side (less where the level is smaller).

    The last row and column of tiles are pulled back inside the level, so every tile has one shape
    and no operator needs a condition at the frame's edge; they share cells with their neighbours,
    which then get the same value twice.
    """

    level: Level
    size: int

    @cached_property
    def tile_shape(self) -> tuple[int, int]:
        """Rows and columns of cells in a tile."""
        return min(self.size, self.level.height), min(self.size, self.level.width)

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        return -(-self.level.height // self.size), -(-self.level.width // self.size)

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.shape[0] * self.shape[1]

    def cover(self, cells: Bool) -> Bool:
        """Tiles ``shape`` that own a marked cell of ``cells`` ``(H, W)``."""
        (rows, cols), size = self.shape, self.size
        if cells.shape != (rows * size, cols * size):
            padded = np.zeros((rows * size, cols * size), dtype=np.bool_)
            padded[: cells.shape[0], : cells.shape[1]] = cells
            cells = padded
        # Words of booleans reduce far faster than an axis of a few bytes.
        by_row = np.logical_or.reduce(cells.reshape(rows, size, cols * size), axis=1)
        owned: Bool = by_row.reshape(rows, cols, size).any(axis=2)
        return owned

    def cover_blocks(self, blocks: Bool, block_size: int) -> Bool:
        """Tiles ``shape`` that overlap a marked block of ``block_size`` input pixels a side."""
        marked = blocks
        for axis in (0, 1):
            marked = any_of(marked, self._blocks_of(axis, blocks.shape[axis], block_size), axis)
        return marked

    def _blocks_of(self, axis: int, blocks: int, block_size: int) -> Index:
        """Blocks that each tile of one axis overlaps ``(tiles, n)``, the last repeated to fill."""
        key = axis, blocks, block_size
        if key not in self._overlaps:
            pixels = np.arange(self.shape[axis] + 1) * (self.size * self.level.stride)
            first = np.minimum(pixels[:-1] // block_size, blocks - 1)
            last = np.maximum(np.minimum(-(-pixels[1:] // block_size), blocks) - 1, first)
            span = np.arange((last - first).max() + 1)
            self._overlaps[key] = np.minimum(first[:, None] + span, last[:, None])
        return self._overlaps[key]

    @cached_property
    def _overlaps(self) -> dict[tuple[int, int, int], Index]:
        return {}

    def cells(self, tiles: Bool) -> Bool:
        """Cells ``(H, W)`` inside the marked ``tiles``, pulled-back ones in their real place."""
        level, size = self.level, self.size
        # Columns first: then the rows are copied whole.
        spread = np.repeat(np.repeat(tiles, size, axis=1), size, axis=0)
        marked: Bool = np.ascontiguousarray(spread[: level.height, : level.width])
        (rows, cols) = self.tile_shape
        if level.height % size and level.height > size:
            bottom = np.repeat(tiles[-1], size)[: level.width]
            marked[level.height - rows :] |= bottom
        if level.width % size and level.width > size:
            right = np.repeat(tiles[:, -1], size)[: level.height]
            marked[:, level.width - cols :] |= right[:, None]
        return marked

    def select(self, tiles: Bool) -> TileSet:
        """Return the marked ``tiles`` as a set, row by row."""
        rows, cols = np.nonzero(tiles)
        return TileSet(self, rows, cols)

    def select_together(self, tiles: Sequence[Bool]) -> JoinedTiles:
        """Return the marked tiles of several endpoints as one set, each one's as its part."""
        return JoinedTiles(self, [TileSet(self, *np.nonzero(one), padded=False) for one in tiles])

    def batch(self, count: int) -> int:
        """Tiles that an operator computes for ``count`` of them."""
        # Single cells are multiplied as rows of a matrix, which is fast in multiples of eight.
        unit = 8 if self.tile_shape == (1, 1) else 1
        return unit * bucket(-(-count // unit)) if count else 0

    def everything(self) -> TileSet:
        """Return all tiles of the level."""
        return self.select(np.ones(self.shape, dtype=np.bool_))


class TileSet:
    """Some tiles of one grid, their batch padded to a bucket by repeating the first tile.

    ``top``, ``left`` ``(n,)`` int64: the tiles' first cells. ``count`` real tiles, ``n`` with the
    padding; zero when empty. Everything derived from the positions is computed once and shared
    by all operators of the level. A set that is not ``padded`` has only its real tiles.
    """

    def __init__(self, grid: TileGrid, rows: Index, cols: Index, *, padded: bool = True) -> None:
        self.grid = grid
        self.count = len(rows)
        self.n = grid.batch(self.count) if padded else self.count
        self._rows, self._cols = rows, cols
        self.top = self._starts(rows, 0)
        self.left = self._starts(cols, 1)
        self._shared: dict[object, torch.Tensor] = {}

    def _starts(self, indices: Index, axis: int) -> torch.Tensor:
        grid = self.grid
        last = grid.level.shape[axis] - grid.tile_shape[axis]
        starts = np.minimum(indices * grid.size, last)
        padding = np.repeat(starts[:1], self.n - self.count)
        return torch.from_numpy(np.concatenate([starts, padding]))

    def batches(self, size: int) -> Iterator[TileSet]:
        """Cut the set into sets of at most ``size`` tiles."""
        for start in range(0, self.count, size):
            part = slice(start, start + size)
            yield TileSet(self.grid, self._rows[part], self._cols[part])

    @property
    def cells(self) -> int:
        """Cells computed by an operator over this set, repeats included."""
        height, width = self.grid.tile_shape
        return self.n * height * width

    def shared(self, key: object, compute: Callable[[], torch.Tensor]) -> torch.Tensor:
        """Return the index tensor named ``key``, computing it the first time."""
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = compute()
        return found


class JoinedTiles(TileSet):
    """The tiles of several endpoints, one after the other: each part's are in its own store.

    What pads the batch repeats the first tile, as in any set, and belongs to no part.
    """

    def __init__(self, grid: TileGrid, parts: Sequence[TileSet]) -> None:
        rows = np.concatenate([part._rows for part in parts])
        cols = np.concatenate([part._cols for part in parts])
        super().__init__(grid, rows, cols)
        self.parts = tuple(parts)

    def split(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Cut ``(n, ...)`` into the rows of each part, the padding left out."""
        return torch.split_with_sizes(values[: self.count], [part.count for part in self.parts])


def default_tile_size(stride: int) -> int:
    """Cells a side of a tile.

    At the fine levels 16 pixels of input, one block: the maps are large and have few channels, so
    what counts is to read each cell once. From stride 8 on single cells: there the arithmetic
    counts, and rounding an active region up to tiles costs more than copying its halo.
    """
    return max(1, 16 // stride) if stride <= 4 else 1


def tile_grids(plan: Plan, tile_sizes: Mapping[int, int]) -> dict[Level, TileGrid]:
    """Return the grid of every level of ``plan``; ``tile_sizes`` overrides cells a side."""
    levels = {spec.level for spec in plan.tensors.values() if spec.stride}
    return {
        level: TileGrid(level, tile_sizes.get(level.stride, default_tile_size(level.stride)))
        for level in levels
    }
