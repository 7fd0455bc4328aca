"""CompiledBackend: the CPU through kernels compiled for this very processor.

A value depends on nothing but what it is computed from: every cell of every operator is summed in
one fixed order, whichever other cells are computed with it. Recomputing some cells, some tiles or
everything therefore agrees bit for bit by construction.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.compiled.attention import CompiledAttention
from fluxshard_core.sparse.compiled.emit import Emitter
from fluxshard_core.sparse.compiled.program import Program
from fluxshard_core.sparse.compiled.runner import CompiledRunner
from fluxshard_core.sparse.compiled.tables import TableMover, table_bytes
from fluxshard_core.sparse.compiled.tile_operators import CompiledPoint, CompiledWindow
from fluxshard_core.sparse.layout import Halo, LevelLayout
from fluxshard_core.sparse.memory import Allocate
from fluxshard_core.sparse.movers import CellMover, CopyingMover
from fluxshard_core.sparse.nodes import DenseIsland, Node
from fluxshard_core.sparse.operators import IslandOperator, PointOperator, WindowOperator
from fluxshard_core.sparse.ops.island import TorchIsland
from fluxshard_core.sparse.plan import Plan, PlanError
from fluxshard_core.sparse.recognise_attention import recognise_attention
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.library import Library, load
from fluxshard_kernels.cpu.records import BUFFER


class CompiledBackend:
    """One backend may serve several executors, on several threads; they share its weights.

    In bfloat16 features take half the memory; weights and sums stay float32.

    :raises BuildError: if the kernels cannot be built on this machine.
    :raises PlanError: another dtype than float32 and bfloat16.
    """

    def __init__(self, dtype: torch.dtype = torch.float32) -> None:
        if dtype not in (torch.float32, torch.bfloat16):
            raise PlanError(f"the CPU backend computes in float32 or bfloat16, not {dtype}")
        self.dtype = dtype
        self._library: Library = load()
        self._emitter = Emitter(self._library)
        self._scratch = Scratch()

    def window_operator(self, plan: Plan, node: Node, grid: TileGrid) -> WindowOperator:
        """Return the operator of a node that reads a neighbourhood or changes level."""
        return CompiledWindow(self._library, self._emitter, plan, node, grid, self.dtype)

    def point_operator(self, plan: Plan, node: Node) -> PointOperator:
        """Return the operator of a node that reads only its own cell."""
        return CompiledPoint(self._library, self._emitter, plan, node, self.dtype)

    def island_operator(self, plan: Plan, node: DenseIsland) -> IslandOperator:
        """Return the operator of a dense subgraph: PyTorch's, unless it is an attention."""
        source = plan.tensors[node.inputs[0]]
        if attention := recognise_attention(node, source):
            return CompiledAttention(self._library, attention, source, self.dtype)
        return TorchIsland(node)

    def runner(self, binding: Binding, *, filtered: bool) -> CompiledRunner:
        """Return what runs whole frames of a bound plan."""
        pitch = {
            level: layout.pitch for level, layout in binding.layouts(filtered=filtered).items()
        }
        names = [spec.name for spec in binding.cached(filtered)]

        def program(*, tabled: bool) -> Program:
            return Program(binding, names, pitch, self._emitter, tabled=tabled)

        some = None if filtered else program(tabled=True)
        return CompiledRunner(self._library, program(tabled=False), some, self.dtype)

    def store(
        self, layout: LevelLayout, channels: int, pad_value: float, allocate: Allocate
    ) -> FeatureStore:
        """Make the cache of one feature map."""
        return FeatureStore(layout, channels, self.dtype, pad_value, self._scratch, allocate)

    def layout(self, level: Level, halo: Halo, *, filtered: bool) -> LevelLayout:
        """Return where the cells of a level's cached maps lie; found by tables they need no room
        to shift as a whole."""
        return LevelLayout(level, halo) if filtered else LevelLayout(level, halo, slack_share=0)

    def mover(self, layout: LevelLayout, *, filtered: bool) -> CellMover:
        """Return what moves the cached maps of a level: tables, unless tiles are gathered."""
        if filtered:
            return CopyingMover(layout, self._copy_cells)
        return TableMover(self._library, layout, self._copy_cells)

    def _copy_cells(
        self, stores: Sequence[FeatureStore], sources: torch.Tensor, destinations: torch.Tensor
    ) -> None:
        """Copy cells inside stores, one store a thread at a time."""
        threads = min(compute_threads(), len(stores))
        sizes = [store.channels * self.dtype.itemsize for store in stores]
        addresses = [store.address for store in stores]
        maps = np.array(list(zip(addresses, sizes, strict=True)), dtype=BUFFER)
        self._library.move(maps, sources.numpy(), destinations.numpy(), threads)

    def mover_bytes(self, layout: LevelLayout, *, filtered: bool) -> int:
        """Return the memory that :meth:`mover` would take."""
        return 0 if filtered else table_bytes(layout)

    def store_bytes(self, layout: LevelLayout, channels: int) -> int:
        """Return the memory that :meth:`store` would take."""
        return layout.size * channels * self.dtype.itemsize

    def image(self, frame: torch.Tensor) -> torch.Tensor:
        """Bring ``(1, C, H, W)`` to ``(1, H, W, C)``; bytes stay bytes until they are cached."""
        image = frame.permute(0, 2, 3, 1)
        return image if frame.dtype is torch.uint8 else image.to(self.dtype)
