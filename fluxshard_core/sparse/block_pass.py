"""Block mode: at every level the same tiles are active in every map, and nothing bleeds.

Tiles flow from operator to operator as ``(n, h, w, C)`` tensors. Only an operator that reads a
neighbourhood or another level gathers, from a cache in which everything else has been moved to
where it belongs now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import IslandStep, PointStep, WindowStep
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.tiles import TileSet


class BlockPass:
    """One frame. ``executed`` counts multiply-accumulates."""

    def __init__(self, network: Network, tiles: Mapping[Level, TileSet]) -> None:
        self._network = network
        # By the network's own level objects, which are found without being compared.
        self._tiles = {grid.level: tiles[grid.level] for grid in network.grid.values()}
        self._values: dict[str, torch.Tensor] = {}
        self.executed = 0

    def run(self, image: torch.Tensor) -> None:
        """Recompute the active tiles from ``image`` ``(1, H, W, C)``, in any memory layout."""
        for _ in self.steps(image):
            pass

    def steps(self, image: torch.Tensor) -> Iterator[None]:
        """As :meth:`run`, with a pause after every operator."""
        (source,) = self._network.plan.inputs
        self._network.cache[source].write(image)
        for step in self._network.steps:
            if isinstance(step, IslandStep):
                run_island(self._network, step)
                self.executed += step.node.multiply_accumulates
            elif self._tiles[self._network.level[step.output]].count:
                self._run_tiles(step)
            for name in step.dying:
                self._values.pop(name, None)
            yield

    def _run_tiles(self, step: WindowStep | PointStep) -> None:
        network = self._network
        tiles = self._tiles[network.level[step.output]]
        if isinstance(step, WindowStep):
            value = step.operator.tiles(network.cache[step.source], tiles)
        else:
            value = step.operator.apply(*(self._read(name, tiles) for name in step.sources))
        self.executed += step.operator.multiply_accumulates(tiles)
        self._values[step.output] = value
        if store := network.cache.get(step.output):
            store.scatter(tiles, value)

    def _read(self, name: str, tiles: TileSet) -> torch.Tensor:
        if self._network.grid_of(name) != tiles.grid:  # other tiles of it are at hand, if any
            return self._network.cache[name].read(tiles)
        value = self._values.get(name)
        if value is None:
            value = self._values[name] = self._network.cache[name].read(tiles)
        return value


def run_island(network: Network, step: IslandStep) -> None:
    """Compute a dense island from the caches, and write what it gives to them."""
    inputs = [
        network.cache.whole(name).unsqueeze(0) if name in network.level else network.vectors[name]
        for name in step.node.inputs
    ]
    outputs = step.operator.dense(*inputs)
    for name, value in zip(step.node.outputs, outputs, strict=True):
        if name in network.level:
            network.cache[name].write(value)
        else:
            network.vectors[name] = value
