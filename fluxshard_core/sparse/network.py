"""Network: a plan bound to a backend, its tile grids and its cache, ready to be run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fluxshard_core.reuse.geometry import Enlargement, Geometry
from fluxshard_core.reuse.geometry import Window as Field
from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.feature_cache import FeatureCache
from fluxshard_core.sparse.layout import Halo, LevelLayout, Patch
from fluxshard_core.sparse.nodes import CacheNeed, ConvTranspose, DenseIsland, Node, Upsample
from fluxshard_core.sparse.operators import (
    Backend,
    IslandOperator,
    PointOperator,
    WindowOperator,
)
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.tiles import TileGrid, tile_grids


@dataclass(frozen=True, eq=False)
class WindowStep:
    """A node that reads ``source`` through a neighbourhood and writes ``output``."""

    node: Node
    operator: WindowOperator
    source: str
    output: str
    geometry: Geometry
    dying: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PointStep:
    """A node that reads the same cell of each of ``sources`` and writes ``output``."""

    node: Node
    operator: PointOperator
    sources: tuple[str, ...]
    output: str
    dying: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class IslandStep:
    """A node that reads and writes whole maps."""

    node: DenseIsland
    operator: IslandOperator
    dying: tuple[str, ...]


Step = WindowStep | PointStep | IslandStep


class Network:
    """What every pass over the plan shares. Tensors are known by name; ``dying`` names those that
    no later step reads."""

    def __init__(
        self, plan: Plan, backend: Backend, tile_sizes: Mapping[int, int], *, filtered: bool
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.level = {
            name: Level(spec.stride, spec.height, spec.width)
            for name, spec in plan.tensors.items()
            if spec.stride
        }
        self.grid = tile_grids(plan, tile_sizes)
        self.steps = self._bind()
        self.cache = self._allocate(filtered)
        self.vectors: dict[str, torch.Tensor] = {}
        """Tensors without spatial meaning, kept because an island may not run again."""

    def grid_of(self, name: str) -> TileGrid:
        """Return the tile grid of a tensor's level."""
        return self.grid[self.level[name]]

    @property
    def cached_levels(self) -> set[Level]:
        """Levels with a cached map."""
        return {self.level[name] for name in self.cache.names}

    def _bind(self) -> list[Step]:
        last_read: dict[str, int] = {}
        for index, node in enumerate(self.plan.nodes):
            last_read.update(dict.fromkeys((*node.inputs, *node.outputs), index))
        steps: list[Step] = []
        for index, node in enumerate(self.plan.nodes):
            names = {*node.inputs, *node.outputs}
            dying = tuple(sorted(name for name in names if last_read[name] == index))
            steps.append(self._bind_node(node, dying))
        return steps

    def _bind_node(self, node: Node, dying: tuple[str, ...]) -> Step:
        if isinstance(node, DenseIsland):
            return IslandStep(node, self.backend.island_operator(node), dying)
        grid = self.grid_of(node.output)
        if geometry := _geometry(node):
            operator = self.backend.window_operator(self.plan, node, grid)
            (source,) = node.inputs
            return WindowStep(node, operator, source, node.output, geometry, dying)
        point = self.backend.point_operator(self.plan, node)
        return PointStep(node, point, node.inputs, node.output, dying)

    def _allocate(self, filtered: bool) -> FeatureCache:
        readers: dict[Level, list[tuple[Patch, TileGrid]]] = {level: [] for level in self.grid}
        pad_values: dict[str, float] = {}
        for step in self.steps:
            if isinstance(step, WindowStep):
                patch = step.operator.patch
                readers[self.level[step.source]].append((patch, self.grid_of(step.output)))
                pad_values.setdefault(step.source, step.operator.pad_value)
        layouts = {
            level: LevelLayout(level, Halo.around(level, found)) for level, found in readers.items()
        }
        cache = FeatureCache(layouts)
        wanted = {CacheNeed.ALWAYS, CacheNeed.FILTERED} if filtered else {CacheNeed.ALWAYS}
        for name, spec in self.plan.tensors.items():
            if spec.stride and spec.cache in wanted:
                layout = layouts[self.level[name]]
                pad_value = pad_values.get(name, 0.0)
                cache.add(name, self.backend.store(layout, spec.channels, pad_value))
        return cache


def _geometry(node: Node) -> Geometry | None:
    if window := node.window:
        top, left = window.padding[:2]
        return Field(window.kernel, window.stride, (top, left), window.dilation)
    if isinstance(node, ConvTranspose):
        return Enlargement(node.stride, node.kernel, node.padding)
    if isinstance(node, Upsample):
        return Enlargement((node.factor, node.factor), (node.factor, node.factor))
    return None
