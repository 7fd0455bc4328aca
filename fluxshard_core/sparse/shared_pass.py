"""One pass over the frames of several endpoints: their tiles share every convolution.

The few tiles of one robot leave a convolution mostly overhead: a call, its set-up, all weights read
for a handful of cells. Per step each endpoint's tiles are gathered from its own cache into one
batch, computed in one call, and scattered back to their own caches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import IslandStep, PointStep, WindowStep
from fluxshard_core.sparse.block_pass import run_island
from fluxshard_core.sparse.layout import Patch
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import JoinedTiles, TileSet


class SharedPass:
    """One frame of each of ``networks``, all of one binding.

    ``executed`` counts multiply-accumulates, what pads the batches divided among all.
    """

    def __init__(self, networks: Sequence[Network], tiles: Mapping[Level, JoinedTiles]) -> None:
        self._networks = networks
        self._binding = networks[0].binding
        self._tiles = tiles
        self._values: dict[str, torch.Tensor] = {}
        self._scratch = Scratch()
        self.executed = [0] * len(networks)

    def run(self, images: Sequence[torch.Tensor]) -> None:
        """Recompute the active tiles from the networks' images ``(1, H, W, C)``."""
        (source,) = self._binding.plan.inputs
        for network, image in zip(self._networks, images, strict=True):
            network.cache[source].write(image)
        for step in self._binding.steps:
            if isinstance(step, IslandStep):
                self._run_islands(step)
            elif self._tiles[self._binding.level[step.output]].count:
                self._run_tiles(step)
            for name in step.dying:
                self._values.pop(name, None)

    def _run_tiles(self, step: WindowStep | PointStep) -> None:
        tiles = self._tiles[self._binding.level[step.output]]
        if isinstance(step, WindowStep):
            value = step.operator.tiles(self._joined(step.source), tiles)
        else:
            value = step.operator.apply(*(self._read(name, tiles) for name in step.sources))
        spent = step.operator.multiply_accumulates(tiles)
        for index, part in enumerate(tiles.parts):
            self.executed[index] += spent * part.count // tiles.count
        self._values[step.output] = value
        if self._networks[0].cache.get(step.output):
            self._joined(step.output).scatter(tiles, value)

    def _run_islands(self, step: IslandStep) -> None:
        # An island is captured for one frame, and its shapes are written into it.
        for index, network in enumerate(self._networks):
            run_island(network, step)
            self.executed[index] += step.node.multiply_accumulates

    def _joined(self, name: str) -> JoinedStore:
        return JoinedStore([network.cache[name] for network in self._networks], self._scratch)

    def _read(self, name: str, tiles: JoinedTiles) -> torch.Tensor:
        if self._binding.grid_of(name) != tiles.grid:  # other tiles of it are at hand, if any
            return self._joined(name).read(tiles)
        value = self._values.get(name)
        if value is None:
            value = self._values[name] = self._joined(name).read(tiles)
        return value


class JoinedStore:
    """The stores of one tensor at several endpoints, read and written by joined tiles."""

    def __init__(self, stores: Sequence[FeatureStore], scratch: Scratch) -> None:
        self._stores = stores
        self._scratch = scratch

    def gather(self, tiles: TileSet, patch: Patch, pad_value: float = 0.0) -> torch.Tensor:
        """Return each tile's patch ``(n, *extent, C)``; the next gather overwrites it."""
        shape = (tiles.n, *patch.extent, self._stores[0].channels)
        out = self._scratch.take(shape, self._stores[0].dtype)
        joined = _joined(tiles)
        parts = zip(self._stores, joined.parts, joined.split(out), strict=True)
        for store, part, place in parts:
            if part.count:
                store.gather_into(place, part, patch, pad_value)
        out[joined.count :] = out[:1]
        return out

    def enlarge(self, tiles: TileSet, factor: int) -> torch.Tensor:
        """Return finer tiles ``(n, h, w, C)`` whose cells copy the ones they lie in."""
        joined = _joined(tiles)
        pairs = zip(self._stores, joined.parts, strict=True)
        return _padded([store.enlarge(part, factor) for store, part in pairs], joined)

    def read(self, tiles: JoinedTiles) -> torch.Tensor:
        """Return the tiles themselves ``(n, h, w, C)`` in new memory."""
        pairs = zip(self._stores, tiles.parts, strict=True)
        return _padded([store.read(part) for store, part in pairs], tiles)

    def scatter(self, tiles: JoinedTiles, values: torch.Tensor) -> None:
        """Write the tiles' ``values`` ``(n, h, w, C)``, each into its own store."""
        parts = zip(self._stores, tiles.parts, tiles.split(values), strict=True)
        for store, part, own in parts:
            if part.count:
                store.scatter(part, own)


def _joined(tiles: TileSet) -> JoinedTiles:
    """Operators hand on the tiles they were given, which they know as any set."""
    assert isinstance(tiles, JoinedTiles)
    return tiles


def _padded(parts: Sequence[torch.Tensor], tiles: JoinedTiles) -> torch.Tensor:
    values = torch.cat(list(parts))
    missing = tiles.n - tiles.count
    return torch.cat([values, values[:1].expand(missing, -1, -1, -1)]) if missing else values
