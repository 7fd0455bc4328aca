"""Single operators over any tiles, for passes in which every map has tiles of its own."""

from __future__ import annotations

import numpy as np
import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.compiled.assembly import Assembly
from fluxshard_core.sparse.compiled.cells import CellLists
from fluxshard_core.sparse.compiled.drafts import Strip
from fluxshard_core.sparse.compiled.emit import Emitter
from fluxshard_core.sparse.layout import Patch
from fluxshard_core.sparse.movers import Place
from fluxshard_core.sparse.nodes import Node
from fluxshard_core.sparse.operators import TileSource
from fluxshard_core.sparse.patches import patch_of
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import Int32, Library, Records
from fluxshard_kernels.cpu.records import BUFFER, LIST, PART


class CompiledWindow:
    """A node that reads a neighbourhood, or another level, from a store."""

    pad_value = 0.0

    def __init__(
        self,
        library: Library,
        emitter: Emitter,
        plan: Plan,
        node: Node,
        grid: TileGrid,
        dtype: torch.dtype,
    ) -> None:
        self._library, self._emitter, self._node, self._grid = library, emitter, node, grid
        self._dtype = dtype
        self._source, self._out = plan.tensors[node.inputs[0]], plan.tensors[node.output]
        self.patch: Patch = patch_of(node, grid.tile_shape)
        self._ready: tuple[int, Assembly, CellLists] | None = None
        self._scratch = Scratch()

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Compute ``(n, h, w, out)``."""
        assert isinstance(store, FeatureStore)
        layout, (height, width) = store.layout, self._grid.tile_shape
        assembly, lists = self._prepare(layout.pitch)
        rows, cols = _cells(tiles)
        records = lists.lists(
            [rows], [cols], lambda level: Place(layout.origin, layout.pitch), self._scratch
        )
        out = torch.empty((tiles.n, height, width, self._out.channels), dtype=self._dtype)
        buffers = np.array(
            [(store.address, store.channels), (out.data_ptr(), self._out.channels)], dtype=BUFFER
        )
        parts = np.array([(buffers.ctypes.data, records.ctypes.data)], dtype=PART)
        _run(self._library, assembly, parts, self._dtype)
        return out

    def _prepare(self, pitch: int) -> tuple[Assembly, CellLists]:
        """Every layout of a level has one pitch, so this is done once."""
        if self._ready is None or self._ready[0] != pitch:
            spec, level = self._source, self._grid.level
            source = Strip(0, spec.level, 0, spec.channels, spec.channels, pitch)
            out = Strip(1, None, 0, self._out.channels, self._out.channels)
            assembly = Assembly(list(self._emitter.emit(self._node, [(source,)], out, level)))
            self._ready = pitch, assembly, CellLists(self._library, assembly.rules)
        return self._ready[1:]

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``."""
        return tiles.cells * self._node.cell_cost


class CompiledPoint:
    """A node that reads only its own cell, on tensors of any cells."""

    def __init__(
        self, library: Library, emitter: Emitter, plan: Plan, node: Node, dtype: torch.dtype
    ) -> None:
        self._library, self._node, self._dtype = library, node, dtype
        self._out = plan.tensors[node.output]
        channels = [plan.tensors[name].channels for name in node.inputs]
        sources = [(Strip(index, None, 0, count, count),) for index, count in enumerate(channels)]
        out = Strip(len(sources), None, 0, self._out.channels, self._out.channels)
        level: Level = self._out.level
        self._assembly = Assembly(list(emitter.emit(node, sources, out, level)))

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Map ``(n, h, w, in)`` to ``(n, h, w, out)``."""
        inputs = [value.contiguous() for value in values]
        out = torch.empty((*inputs[0].shape[:3], self._out.channels), dtype=self._dtype)
        buffers = np.array(
            [(value.data_ptr(), value.shape[3]) for value in (*inputs, out)], dtype=BUFFER
        )
        records = np.zeros(len(self._assembly.rules), LIST)
        records["count"] = out.shape[0] * out.shape[1] * out.shape[2]
        parts = np.array([(buffers.ctypes.data, records.ctypes.data)], dtype=PART)
        assembly = self._assembly
        _run(self._library, assembly, parts, self._dtype)
        return out

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates over ``tiles``."""
        return tiles.cells * self._node.cell_cost


def _run(library: Library, assembly: Assembly, parts: Records, dtype: torch.dtype) -> None:
    half, threads = dtype is torch.bfloat16, compute_threads()
    library.run(assembly.operators, assembly.segments, parts, threads, half=half)


def _cells(tiles: TileSet) -> tuple[Int32, Int32]:
    """Rows and columns of all cells of the tiles, tile by tile."""
    height, width = tiles.grid.tile_shape
    shape = tiles.n, height, width

    def spread(first: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
        cells = first[:, None, None] + offsets
        return cells.to(torch.int32).expand(shape).reshape(-1).contiguous()

    rows = tiles.shared("rows", lambda: spread(tiles.top, torch.arange(height)[:, None]))
    cols = tiles.shared("cols", lambda: spread(tiles.left, torch.arange(width)))
    return rows.numpy(), cols.numpy()
