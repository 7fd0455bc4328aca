"""All cached feature maps of one endpoint, and how a frame's motion moves them."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.sparse.movers import Bool, CellMover, Place
from fluxshard_core.sparse.store import FeatureStore


class FeatureCache:
    """Stores by tensor name; those of one level share a layout, so they move together."""

    def __init__(self, movers: Mapping[Level, CellMover]) -> None:
        self._movers = movers
        self._stores: dict[str, FeatureStore] = {}
        self._overwritten: set[str] = set()

    def add(
        self, name: str, store: FeatureStore, *, ringed: bool = True, overwritten: bool = False
    ) -> None:
        """Take ``store`` into the cache; ``ringed`` if somebody reads outside its frame,
        ``overwritten`` if every frame writes it whole before anybody reads it."""
        self._stores[name] = store
        if overwritten:
            self._overwritten.add(name)
        self._movers[store.layout.level].add(store, ringed=ringed, overwritten=overwritten)

    def get(self, name: str) -> FeatureStore | None:
        """Return the store of a tensor, or None if it is not cached."""
        return self._stores.get(name)

    def __getitem__(self, name: str) -> FeatureStore:
        return self._stores[name]

    def place(self, level: Level) -> Place:
        """Return where the cells of a level's maps lie, but for those that are overwritten: they
        have no table."""
        return self._movers[level].place

    def whole(self, name: str, *, own: bool = False) -> torch.Tensor:
        """Return a map ``(H, W, C)`` as it is now: a view where its cells lie in place, unless it
        must ``own`` its memory."""
        store = self._stores[name]
        if name in self._overwritten:
            return store.frame().clone() if own else store.frame()
        return self._movers[store.layout.level].whole(store, own=own)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the cached tensors."""
        return tuple(self._stores)

    @property
    def bytes(self) -> int:
        """Memory held, halo and slack included."""
        maps = sum(store.bytes for store in self._stores.values())
        return maps + sum(mover.bytes for mover in self._movers.values())

    def move(self, motion: LevelMotion, kept: Bool, *, preserve: bool = False) -> None:
        """Move every map of a level; see :meth:`CellMover.move`."""
        self._movers[motion.level].move(motion, kept, preserve=preserve)

    def settle(self) -> None:
        """Every map is about to be written whole: all cells lie at their places again."""
        for mover in self._movers.values():
            mover.settle()
