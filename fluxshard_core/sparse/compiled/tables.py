"""TableMover: cached maps that follow the motion by a table of positions; no feature is copied."""

from __future__ import annotations

import numpy as np
import torch

from fluxshard_core.reuse.remap import Bool, LevelMotion
from fluxshard_core.sparse.layout import LevelLayout
from fluxshard_core.sparse.movers import CopyCells, Place
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import Int32, Library, Records
from fluxshard_kernels.cpu.records import GRID


class TableMover:
    """Keeps a table for the maps of one level, and how it was before, int32 ``(layout.size,)``.

    Maps that every frame overwrites whole stay outside: their cells are always in place. A level
    that has no others needs no table.
    """

    def __init__(self, library: Library, layout: LevelLayout, copy_cells: CopyCells) -> None:
        self.layout = layout
        self._library, self._copy_cells = library, copy_cells
        size = (*layout.level.shape, layout.pitch, layout.origin, layout.size)
        self._grid: Records = np.array([size], dtype=GRID)
        self._table = self._spare = np.empty(0, dtype=np.int32)
        self._stores: list[FeatureStore] = []

    @property
    def place(self) -> Place:
        """Where the cells lie now; the table's address changes with every move."""
        return Place(self.layout.origin, self.layout.pitch, self._table.ctypes.data)

    @property
    def bytes(self) -> int:
        """Memory held beside the maps'."""
        return self._table.nbytes + self._spare.nbytes

    def add(self, store: FeatureStore, *, ringed: bool, overwritten: bool) -> None:
        """Take a map; the ring around it is never written."""
        if overwritten:
            return
        if not self._stores:
            self._table = np.arange(self.layout.size, dtype=np.int32)
            self._spare = self._table.copy()  # the ring's places never change
        self._stores.append(store)

    def move(self, motion: LevelMotion, kept: Bool, *, preserve: bool) -> None:
        """See :class:`~fluxshard_core.sparse.movers.CellMover`."""
        if not self._stores:
            return
        old, new = self._table, self._spare
        shift, kept = np.ascontiguousarray(motion.shift), np.ascontiguousarray(kept)
        self._library.move_table(self._grid, old, new, shift, kept)
        self._table, self._spare = new, old
        if preserve:
            separated = ~kept & (self._frame(old) != self._frame(new))
            sources, destinations = (_index(self._frame(table)[separated]) for table in (old, new))
            if len(sources):
                self._copy_cells(self._stores, sources, destinations)

    def settle(self) -> None:
        """All cells are about to be written at their places."""
        self._table[:] = np.arange(len(self._table))

    def whole(self, store: FeatureStore, *, own: bool = False) -> torch.Tensor:
        """Return a map ``(H, W, C)``, always in memory of its own."""
        shape = (*self.layout.level.shape, store.channels)
        out = torch.empty(shape, dtype=store.dtype)
        positions = self._frame(self._table).flatten()
        size = store.channels * store.dtype.itemsize
        threads = compute_threads()
        self._library.gather(store.address, size, positions, out.data_ptr(), threads)
        return out

    def _frame(self, table: Int32) -> Int32:
        """A view ``(H, W)`` of the frame's part of a table."""
        (height, width), origin, pitch = (
            self.layout.level.shape,
            self.layout.origin,
            self.layout.pitch,
        )
        return table[origin : origin + height * pitch].reshape(height, pitch)[:, :width]


def _index(positions: Int32) -> torch.Tensor:
    return torch.from_numpy(positions.astype(np.int64))


def table_bytes(layout: LevelLayout) -> int:
    """Return the memory of a level's two tables."""
    return 2 * layout.size * np.dtype(np.int32).itemsize
