"""FeatureStore: one cached feature map, kept in channels-last rows inside a ring of padding."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.layout import LevelLayout, Patch, tile_patch
from fluxshard_core.sparse.memory import Allocate, empty
from fluxshard_core.sparse.nodes import Pair
from fluxshard_core.sparse.pixels import write_bytes
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.tiles import TileSet


class FeatureStore:
    """One feature map ``(H, W, C)`` between frames; its layout is shared by the level.

    The ring outside the frame always reads ``pad_value``, so a patch that crosses the border is
    gathered like any other.
    """

    def __init__(
        self,
        layout: LevelLayout,
        channels: int,
        dtype: torch.dtype,
        pad_value: float,
        scratch: Scratch,
        allocate: Allocate = empty,
    ) -> None:
        self.layout = layout
        self.channels = channels
        self.pad_value = pad_value
        self._scratch = scratch
        self._cells = allocate((layout.size, channels), dtype).fill_(pad_value)
        self._word = _copied_as(channels, dtype)
        self._wide = self._cells.view(self._word)
        self._rows: dict[int, torch.Tensor] = {}
        self._wide_rows: dict[int, torch.Tensor] = {}

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        return self._cells.dtype

    @property
    def bytes(self) -> int:
        """Memory held, halo and slack included."""
        return self._cells.numel() * self._cells.element_size()

    @property
    def address(self) -> int:
        """Where the buffer lies in memory, for compiled code."""
        return self._cells.data_ptr()

    def _segments(self, width: int) -> torch.Tensor:
        rows = self._rows.get(width)
        if rows is None:
            rows = self._rows[width] = _overlapping(self._cells, width)
        return rows

    def frame(self) -> torch.Tensor:
        """Return the map in place, ``(H, W, C)``; a view that the next frame overwrites."""
        layout, channels = self.layout, self.channels
        shape = (*layout.level.shape, channels)
        strides = (layout.pitch * channels, channels, 1)
        return self._cells.as_strided(shape, strides, layout.origin * channels)

    def write(self, values: torch.Tensor) -> None:
        """Replace the whole map by ``values`` ``(1, H, W, C)`` or ``(H, W, C)``; bytes stand for
        ``value / 255``."""
        frame = self.frame()
        if values.dtype is torch.uint8:
            write_bytes(frame, values.reshape(frame.shape))
        else:
            frame.copy_(values.reshape(frame.shape))

    def gather(self, tiles: TileSet, patch: Patch, pad_value: float = 0.0) -> torch.Tensor:
        """Return each tile's patch ``(n, *extent, C)``, reading ``pad_value`` outside the frame.

        The result lives in scratch memory: it is overwritten by the next gather.
        """
        out = self._scratch.take((tiles.n, *patch.extent, self.channels), self._cells.dtype)
        self.gather_into(out, tiles, patch, pad_value)
        return out

    def gather_into(
        self, out: torch.Tensor, tiles: TileSet, patch: Patch, pad_value: float = 0.0
    ) -> None:
        """As :meth:`gather`, into ``out`` ``(n, *extent, C)``, contiguous."""
        (_, width), channels = patch.extent, self.channels
        segments = self.layout.segments(tiles, patch)
        rows = out.view(-1, width * channels)
        torch.index_select(self._segments(width), 0, segments, out=rows)
        if pad_value != self.pad_value:
            outside = self.layout.outside(tiles, patch)
            out.view(-1, channels).index_fill_(0, outside, pad_value)

    def enlarge(self, tiles: TileSet, factor: int) -> torch.Tensor:
        """Return tiles of the level ``factor`` times as fine, every cell a copy of the one here
        that it lies in: ``(n, h, w, C)`` in new memory."""
        key = ("enlarge", self.layout, self.layout.origin, factor)
        positions = tiles.shared(key, lambda: self._sources(tiles, factor))
        return self.gather_cells(positions).view(tiles.n, *tiles.grid.tile_shape, self.channels)

    def _sources(self, tiles: TileSet, factor: int) -> torch.Tensor:
        height, width = tiles.grid.tile_shape
        rows = (tiles.top[:, None] + torch.arange(height)) // factor
        cols = (tiles.left[:, None] + torch.arange(width)) // factor
        positions = rows[:, :, None] * self.layout.pitch + cols[:, None, :] + self.layout.origin
        return positions.reshape(-1)

    def gather_cells(self, positions: torch.Tensor) -> torch.Tensor:
        """Return cells ``(len(positions), C)`` at flat buffer ``positions``, in new memory."""
        return torch.index_select(self._cells, 0, positions)

    def read(self, tiles: TileSet) -> torch.Tensor:
        """Return the tiles themselves ``(n, h, w, C)`` in new memory."""
        patch = tile_patch(tiles.grid.tile_shape)
        (height, width), segments = patch.extent, self.layout.segments(tiles, patch)
        cells = torch.index_select(self._segments(width), 0, segments)
        return cells.view(tiles.n, height, width, self.channels)

    def scatter(self, tiles: TileSet, values: torch.Tensor) -> None:
        """Write the tiles' ``values`` ``(n, h, w, C)`` into the map."""
        patch = tile_patch(tiles.grid.tile_shape)
        width, segments = patch.extent[1], self.layout.segments(tiles, patch)
        rows = self._wide_rows.get(width)
        if rows is None:
            rows = self._wide_rows[width] = _overlapping(self._wide, width)
        words = values.reshape(len(segments), width * self.channels).contiguous().view(self._word)
        rows.index_copy_(0, segments, words)

    def scatter_cells(self, positions: torch.Tensor, values: torch.Tensor) -> None:
        """Write ``values`` ``(len(positions), C)`` at flat buffer ``positions``."""
        self._wide.index_copy_(0, positions, values.view(self._word))

    def recentre(self, old: int, new: int) -> None:
        """Copy the frame's rows from buffer position ``old`` to ``new``."""
        length = self.layout.level.height * self.layout.pitch
        self._cells[new : new + length] = self._cells[old : old + length].clone()

    def clear_ring(self) -> None:
        """Restore the padding around the frame after its origin has moved."""
        layout, cells = self.layout, self._cells
        gap, origin = layout.halo.columns, layout.origin
        above = layout.halo.top * layout.pitch + gap
        cells[origin - above : origin].fill_(self.pad_value)
        last = origin + (layout.level.height - 1) * layout.pitch + layout.level.width
        cells[last : last + gap + layout.halo.bottom * layout.pitch].fill_(self.pad_value)
        if gap:
            shape: Pair = (layout.level.height, gap * self.channels)
            strides = (layout.pitch * self.channels, 1)
            right = (origin + layout.level.width) * self.channels
            cells.as_strided(shape, strides, right).fill_(self.pad_value)


def _overlapping(cells: torch.Tensor, width: int) -> torch.Tensor:
    """View ``(n, C)`` as all ``(n - width + 1, width * C)`` runs of neighbouring cells."""
    count, channels = cells.shape
    return cells.as_strided((count - width + 1, width * channels), (channels, 1))


def _copied_as(channels: int, dtype: torch.dtype) -> torch.dtype:
    """The widest type to write cells as: ``index_copy_`` moves one element at a time."""
    size = channels * dtype.itemsize
    for word in (torch.complex128, torch.float64):
        if size % word.itemsize == 0:
            return word
    return dtype
