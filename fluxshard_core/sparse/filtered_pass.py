"""Exact and bounded mode: every map has its own active cells, found from those of its inputs.

A cell is *inherited* when the moved cache already holds its value. Receptive fields pass that on
(``reuse/rfap.py``); a recomputed cell that turns out equal to the moved cache, or within the
level's threshold of it, is inherited again. Such a cell keeps the old value, so that a threshold
bounds the change since the value that was last passed on, and slow drift cannot slip under it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.sparse.binding import IslandStep, PointStep, WindowStep
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.spread import Spread
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileSet

Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Fresh:
    """A map's cells that are not inherited, the tiles that cover them and, where at hand, the
    tiles' values. ``tiles`` may cover more than ``active`` in maps of one pointwise chain, which
    share it."""

    active: Bool
    tiles: TileSet
    values: torch.Tensor | None


class FilteredPass:
    """One frame. ``executed`` counts multiply-accumulates; ``recomputed`` holds, per level, the
    cells that were active in every map."""

    def __init__(
        self,
        network: Network,
        moved: Mapping[Level, LevelMotion],
        thresholds: Mapping[str, float],
        spread: Spread,
    ) -> None:
        self._network = network
        self._moved = moved
        self._thresholds = thresholds
        self._spread = spread
        self._fresh: dict[str, _Fresh] = {}
        self.executed = 0
        self.recomputed: dict[Level, Bool] = {}

    def start(self, image: torch.Tensor) -> float:
        """Move the caches, take in ``image`` ``(1, H, W, C)``; return the active share of it."""
        for motion in self._moved.values():
            height, width = motion.level.shape
            self._network.cache.move(motion, np.ones((height, width), dtype=np.bool_))
        (source,) = self._network.plan.inputs
        active = self._take_whole(source, image)
        self._spread.begin(active)
        self._note(source, active)
        return float(active.mean())

    def run(self) -> None:
        """Bring every map up to date."""
        for step in self._network.steps:
            if isinstance(step, IslandStep):
                self._run_island(step)
            elif isinstance(step, WindowStep):
                self._run_window(step)
            else:
                self._run_point(step)
            for name in step.dying:
                del self._fresh[name]

    def _run_window(self, step: WindowStep) -> None:
        network, source = self._network, self._fresh[step.source]
        active = self._spread.through(step, source.active)
        grid = network.grid_of(step.output)
        tiles = grid.select(grid.cover(active))
        values = None
        if tiles.count:
            values = step.operator.tiles(network.cache[step.source], tiles)
            self.executed += step.operator.multiply_accumulates(tiles)
        self._finish(step.output, _Fresh(active, tiles, values), own_tiles=True)

    def _run_point(self, step: PointStep) -> None:
        network = self._network
        sources = [self._fresh[name] for name in step.sources]
        actives = [
            self._spread.across(name, step.output, source.active)
            for name, source in zip(step.sources, sources, strict=True)
        ]
        tiles, active = sources[0].tiles, actives[0]
        shared = all(source.tiles is tiles for source in sources)
        shared &= tiles.grid is network.grid_of(step.output)
        if len(sources) > 1:
            active = np.logical_or.reduce(actives)
        if not shared:
            grid = network.grid_of(step.output)
            tiles = grid.select(grid.cover(active))
        values = None
        if tiles.count:
            inputs = [
                self._values(name, source, tiles)
                for name, source in zip(step.sources, sources, strict=True)
            ]
            values = step.operator.apply(*inputs)
            self.executed += step.operator.multiply_accumulates(tiles)
        self._finish(step.output, _Fresh(active, tiles, values), own_tiles=not shared)

    def _values(self, name: str, source: _Fresh, tiles: TileSet) -> torch.Tensor:
        if source.tiles is tiles and source.values is not None:
            return source.values
        return self._network.cache[name].read(tiles)

    def _finish(self, name: str, fresh: _Fresh, *, own_tiles: bool) -> None:
        """Filter and store a map. One that shares its tiles with others must keep them."""
        store = self._network.cache.get(name)
        if store and fresh.values is not None:
            fresh = self._filter(store, name, fresh, own_tiles)
        self._fresh[name] = fresh
        self._note(name, fresh.active)

    def _filter(self, store: FeatureStore, name: str, fresh: _Fresh, own_tiles: bool) -> _Fresh:
        values, tiles = fresh.values, fresh.tiles
        assert values is not None
        old = store.read(tiles)
        changed, values = self._changed(name, values, old)
        active = np.zeros(fresh.active.shape, dtype=np.bool_)
        active[_cells_of(tiles)] = changed.numpy()
        active |= self._unknown(name, fresh.active)
        store.scatter(tiles, values)
        if own_tiles:
            needed = tiles.grid.cover(active)
            if int(needed.sum()) < tiles.count:
                return _Fresh(active, tiles.grid.select(needed), None)
        return _Fresh(active, tiles, values)

    def _changed(
        self, name: str, values: torch.Tensor, old: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Which cells of ``(n, h, w, C)`` changed, and the values with the others as before."""
        threshold = self._thresholds[name]
        if not threshold:
            return (values != old).any(dim=3), values
        changed = (values - old).abs_().amax(dim=3) > threshold
        return changed, torch.where(changed.unsqueeze(3), values, old)

    def _unknown(self, name: str, active: Bool) -> Bool:
        """Active cells whose moved cache is not what its displacement says, equal or not."""
        unknown: Bool = active & ~self._moved[self._network.level[name]].valid
        return unknown

    def _run_island(self, step: IslandStep) -> None:
        network = self._network
        inputs = step.node.inputs
        if not any(self._must_follow(name) for name in inputs):
            for name in step.node.outputs:
                self._fresh[name] = self._untouched(name)
            return
        outputs = step.operator.dense(
            *(
                network.cache[name].frame().unsqueeze(0)
                if name in network.level
                else network.vectors[name]
                for name in inputs
            )
        )
        self.executed += step.node.multiply_accumulates
        for name, value in zip(step.node.outputs, outputs, strict=True):
            if name not in network.level:
                network.vectors[name] = value
                self._fresh[name] = self._untouched(name)
                continue
            self._take_whole(name, value)

    def _must_follow(self, name: str) -> bool:
        """Whether an island's input differs in any way from what the island saw last time."""
        if name not in self._network.level:
            return True
        motion = self._moved[self._network.level[name]]
        return bool(self._fresh[name].active.any()) or bool(motion.shift.any())

    def _take_whole(self, name: str, value: torch.Tensor) -> Bool:
        """Store a map computed whole; find which of its cells changed."""
        store, level = self._network.cache[name], self._network.level[name]
        changed, values = self._changed(name, value, store.frame().unsqueeze(0))
        active: Bool = changed[0].numpy() | ~self._moved[level].valid
        store.write(values)
        grid = self._network.grid[level]
        self._fresh[name] = _Fresh(active, grid.select(grid.cover(active)), None)
        return active

    def _untouched(self, name: str) -> _Fresh:
        grid = next(iter(self._network.grid.values()))
        if name in self._network.level:
            grid = self._network.grid_of(name)
        none = np.zeros(grid.shape, dtype=np.bool_)
        return _Fresh(np.zeros(grid.level.shape, dtype=np.bool_), grid.select(none), None)

    def _note(self, name: str, active: Bool) -> None:
        if name in self._network.level:
            level = self._network.level[name]
            known = self.recomputed.get(level)
            self.recomputed[level] = active if known is None else known & active


def _cells_of(tiles: TileSet) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns ``(n, h, w)`` of the tiles' cells, to index a ``(H, W)`` map."""
    height, width = tiles.grid.tile_shape
    rows = tiles.top.numpy()[:, None] + np.arange(height)
    cols = tiles.left.numpy()[:, None] + np.arange(width)
    shape = tiles.n, height, width
    return (
        np.broadcast_to(rows[:, :, None], shape),
        np.broadcast_to(cols[:, None, :], shape),
    )
