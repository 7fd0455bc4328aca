"""All cached feature maps of one endpoint, and how a frame's motion moves them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.sparse.layout import LevelLayout
from fluxshard_core.sparse.store import FeatureStore

Bool = npt.NDArray[np.bool_]
CopyCells = Callable[[Sequence[FeatureStore], torch.Tensor, torch.Tensor], None]
"""Copies cells of every store from flat buffer positions ``(n,)`` int64 to others; all sources of
a store are read before any of its cells is written."""


def copy_cells(
    stores: Sequence[FeatureStore], sources: torch.Tensor, destinations: torch.Tensor
) -> None:
    """Copy cells with PyTorch's own indexing; see :data:`CopyCells`."""
    for store in stores:
        store.scatter_cells(destinations, store.gather_cells(sources))


class FeatureCache:
    """Stores by tensor name; those of one level share a layout, so they move together."""

    def __init__(self, layouts: Mapping[Level, LevelLayout], copy_cells: CopyCells) -> None:
        """``copy_cells`` is how a backend moves cells inside stores of one level."""
        self._layouts = layouts
        self._copy_cells = copy_cells
        self._stores: dict[str, FeatureStore] = {}
        self._moving: dict[Level, list[FeatureStore]] = {level: [] for level in layouts}
        self._ringed: dict[Level, list[FeatureStore]] = {level: [] for level in layouts}

    def add(self, name: str, store: FeatureStore, *, ringed: bool = True) -> None:
        """Take ``store`` into the cache; ``ringed`` if somebody reads outside its frame."""
        self._stores[name] = store
        level = store.layout.level
        self._moving[level].append(store)
        if ringed:
            self._ringed[level].append(store)

    def get(self, name: str) -> FeatureStore | None:
        """Return the store of a tensor, or None if it is not cached."""
        return self._stores.get(name)

    def __getitem__(self, name: str) -> FeatureStore:
        return self._stores[name]

    def place(self, level: Level) -> tuple[int, int]:
        """Return where the maps of a level begin in their buffers, and their pitch, in cells."""
        layout = self._layouts[level]
        return layout.origin, layout.pitch

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cached tensors."""
        return tuple(self._stores)

    @property
    def bytes(self) -> int:
        """Memory held, halo and slack included."""
        return sum(store.bytes for store in self._stores.values())

    def move(self, motion: LevelMotion, kept: Bool) -> None:
        """Move every map of a level so that cell ``c`` holds what was at ``c - shift[c]``.

        ``kept`` ``(H, W)``: the cells whose cached value will be read. Others may be left with
        any value. The common shift moves the origin of the level; only cells with another shift
        are copied, every source read before any destination is written.
        """
        layout = self._layouts[motion.level]
        shift = layout.displacement(motion.common)
        if abs(shift) > layout.slack:
            shift = 0
            destination = np.flatnonzero(kept)
            source = motion.source.reshape(-1)[destination]
        else:
            destination, source = motion.exceptions(kept)
        if shift == 0 and not len(destination):
            return
        sources = layout.flat(torch.from_numpy(source.astype(np.int64)))
        old_origin, displaced = layout.origin, shift != 0
        recentred = not layout.has_room(shift)
        layout.origin = (layout.centre if recentred else old_origin) + shift
        destinations = layout.flat(torch.from_numpy(destination.astype(np.int64)))
        stores = self._moving[motion.level]
        if recentred:
            for store in stores:
                values = store.gather_cells(sources)
                store.recentre(old_origin, layout.centre)
                store.scatter_cells(destinations, values)
        elif len(destination):
            self._copy_cells(stores, sources, destinations)
        if displaced:
            for store in self._ringed[motion.level]:
                store.clear_ring()
