"""How the cached maps of one level follow the motion: the protocol, and moving by copying."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from fluxshard_core.reuse.remap import LevelMotion
from fluxshard_core.sparse.layout import LevelLayout
from fluxshard_core.sparse.store import FeatureStore

Bool = npt.NDArray[np.bool_]
CopyCells = Callable[[Sequence[FeatureStore], torch.Tensor, torch.Tensor], None]
"""Copies cells of every store from flat buffer positions ``(n,)`` int64 to others; all sources of
a store are read before any of its cells is written."""


@dataclass(frozen=True)
class Place:
    """Where a level's cells lie in the buffers of its maps: cell ``(i, j)`` at
    ``p = origin + i * pitch + j``, or, where ``table`` is not 0, at the int32 ``table[p]``, an
    address."""

    origin: int
    pitch: int
    table: int = 0


class CellMover(Protocol):
    """Moves all maps of one level together."""

    @property
    def layout(self) -> LevelLayout:
        """Of the level's maps."""
        ...

    @property
    def place(self) -> Place:
        """Where the cells lie now."""
        ...

    @property
    def bytes(self) -> int:
        """Memory held beside the maps'."""
        ...

    def add(self, store: FeatureStore, *, ringed: bool, overwritten: bool) -> None:
        """Take a map; ``ringed`` if somebody reads outside its frame, ``overwritten`` if every
        frame writes it whole before anybody reads it."""
        ...

    def move(self, motion: LevelMotion, kept: Bool, *, preserve: bool) -> None:
        """Make cell ``c`` hold what was at ``c - shift[c]``, clamped into the frame.

        ``kept`` ``(H, W)``: the cells whose cached value will be read. Others are about to be
        written; until then they may hold anything, or, with ``preserve``, which only motion that
        is zero everywhere allows, what they held.
        """
        ...

    def settle(self) -> None:
        """All maps are about to be written whole: forget what moved."""
        ...

    def whole(self, store: FeatureStore, *, own: bool = False) -> torch.Tensor:
        """Return a map ``(H, W, C)``: a view where its cells lie in place, unless it must ``own``
        its memory."""
        ...


def copy_cells(
    stores: Sequence[FeatureStore], sources: torch.Tensor, destinations: torch.Tensor
) -> None:
    """Copy cells with PyTorch's own indexing; see :data:`CopyCells`."""
    for store in stores:
        store.scatter_cells(destinations, store.gather_cells(sources))


class CopyingMover:
    """Every cell lies at its own place: the common shift moves the origin of the level, and only
    cells with another shift are copied, every source read before any destination is written."""

    def __init__(self, layout: LevelLayout, copy_cells: CopyCells) -> None:
        """``copy_cells`` is how a backend moves cells inside stores of one level."""
        self.layout = layout
        self._copy_cells = copy_cells
        self._stores: list[FeatureStore] = []
        self._ringed: list[FeatureStore] = []
        self.bytes = 0

    @property
    def place(self) -> Place:
        """Where the cells lie now."""
        return Place(self.layout.origin, self.layout.pitch)

    def add(self, store: FeatureStore, *, ringed: bool, overwritten: bool) -> None:
        """Take a map. One that is overwritten moves too: all share the origin."""
        self._stores.append(store)
        if ringed:
            self._ringed.append(store)

    def move(self, motion: LevelMotion, kept: Bool, *, preserve: bool) -> None:
        """See :class:`CellMover`; a cell that does not move is not touched."""
        layout = self.layout
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
        if recentred:
            for store in self._stores:
                values = store.gather_cells(sources)
                store.recentre(old_origin, layout.centre)
                store.scatter_cells(destinations, values)
        elif len(destination):
            self._copy_cells(self._stores, sources, destinations)
        if displaced:
            for store in self._ringed:
                store.clear_ring()

    def settle(self) -> None:
        """Nothing to forget: every cell lies at its place."""

    def whole(self, store: FeatureStore, *, own: bool = False) -> torch.Tensor:
        """Return a map ``(H, W, C)``, a view that the next frame overwrites unless ``own``."""
        return store.frame().clone() if own else store.frame()
