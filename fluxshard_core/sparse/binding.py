"""Binding: a plan bound to a backend's operators and tile grids; what executors can share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fluxshard_core.reuse.geometry import Enlargement, Geometry
from fluxshard_core.reuse.geometry import Window as Field
from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.feature_cache import FeatureCache
from fluxshard_core.sparse.layout import Halo, LevelLayout, Patch
from fluxshard_core.sparse.memory import Arena, room
from fluxshard_core.sparse.nodes import (
    CacheNeed,
    ConvTranspose,
    DenseIsland,
    Node,
    TensorSpec,
    Upsample,
)
from fluxshard_core.sparse.operators import (
    Backend,
    IslandOperator,
    PointOperator,
    Runner,
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


class Binding:
    """A plan bound to a backend's operators, weights packed; holds nothing of any frame.

    All executors of one input size can share it: a robot more then costs its features alone.
    Tensors are known by name; ``dying`` names those that no later step reads.
    """

    def __init__(
        self, plan: Plan, backend: Backend, tile_sizes: Mapping[int, int] | None = None
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.tile_sizes = dict(tile_sizes or {})
        self.grid = tile_grids(plan, self.tile_sizes)
        known = {level: level for level in self.grid}  # one object a level: cheap to look up
        self.level = {name: known[spec.level] for name, spec in plan.tensors.items() if spec.stride}
        self.steps = self._bind()
        islands = [node for node in plan.nodes if isinstance(node, DenseIsland)]
        self.overwritten = {*plan.inputs, *(name for node in islands for name in node.outputs)}
        """Tensors that every frame writes whole before anybody reads them."""
        self._runners: dict[bool, Runner] = {}

    def grid_of(self, name: str) -> TileGrid:
        """Return the tile grid of a tensor's level."""
        return self.grid[self.level[name]]

    def cache_bytes(self, *, filtered: bool = False) -> int:
        """Memory of one endpoint's cache, halo and slack included, without allocating it."""
        layouts, specs = self.layouts(filtered=filtered), self.cached(filtered)
        moved = {self.level[spec.name] for spec in specs if spec.name not in self.overwritten}
        return sum(self._bytes(spec, layouts) for spec in specs) + sum(
            self.backend.mover_bytes(layouts[level], filtered=filtered) for level in moved
        )

    def new_cache(self, *, filtered: bool) -> FeatureCache:
        """Allocate one endpoint's cache; ``filtered`` for exact and bounded mode."""
        layouts = self.layouts(filtered=filtered)
        pad_values: dict[str, float] = {}
        ringed = set()
        for step in self.steps:
            if isinstance(step, WindowStep):
                pad_values.setdefault(step.source, step.operator.pad_value)
                reader = step.operator.patch, self.grid_of(step.output)
                if Halo.around(self.level[step.source], [reader]) != Halo():
                    ringed.add(step.source)
        movers = {
            level: self.backend.mover(layout, filtered=filtered)
            for level, layout in layouts.items()
        }
        cache, specs = FeatureCache(movers), self.cached(filtered)
        arena = Arena(sum(room(self._bytes(spec, layouts)) for spec in specs))
        for spec in specs:
            layout, pad_value = layouts[self.level[spec.name]], pad_values.get(spec.name, 0.0)
            store = self.backend.store(layout, spec.channels, pad_value, arena.take)
            overwritten = spec.name in self.overwritten and not filtered
            cache.add(spec.name, store, ringed=spec.name in ringed, overwritten=overwritten)
        return cache

    def runner(self, *, filtered: bool) -> Runner:
        """Return what runs whole frames, made once."""
        if filtered not in self._runners:
            self._runners[filtered] = self.backend.runner(self, filtered=filtered)
        return self._runners[filtered]

    def cached(self, filtered: bool) -> list[TensorSpec]:
        """Return the tensors that are kept between frames; ``filtered`` as for a cache."""
        wanted = {CacheNeed.ALWAYS, CacheNeed.FILTERED} if filtered else {CacheNeed.ALWAYS}
        return [spec for spec in self.plan.tensors.values() if spec.stride and spec.cache in wanted]

    def layouts(self, *, filtered: bool) -> dict[Level, LevelLayout]:
        """Return a new layout of every level: as those of any cache but for the origin."""
        readers: dict[Level, list[tuple[Patch, TileGrid]]] = {level: [] for level in self.grid}
        for step in self.steps:
            if isinstance(step, WindowStep):
                reader = step.operator.patch, self.grid_of(step.output)
                readers[self.level[step.source]].append(reader)
        return {
            level: self.backend.layout(level, Halo.around(level, found), filtered=filtered)
            for level, found in readers.items()
        }

    def _bytes(self, spec: TensorSpec, layouts: Mapping[Level, LevelLayout]) -> int:
        return self.backend.store_bytes(layouts[self.level[spec.name]], spec.channels)

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
            return IslandStep(node, self.backend.island_operator(self.plan, node), dying)
        grid = self.grid_of(node.output)
        if geometry := _geometry(node):
            operator = self.backend.window_operator(self.plan, node, grid)
            (source,) = node.inputs
            return WindowStep(node, operator, source, node.output, geometry, dying)
        point = self.backend.point_operator(self.plan, node)
        return PointStep(node, point, node.inputs, node.output, dying)


def _geometry(node: Node) -> Geometry | None:
    if window := node.window:
        top, left = window.padding[:2]
        return Field(window.kernel, window.stride, (top, left), window.dilation)
    if isinstance(node, ConvTranspose):
        return Enlargement(node.stride, node.kernel, node.padding)
    if isinstance(node, Upsample):
        return Enlargement((node.factor, node.factor), (node.factor, node.factor))
    return None
