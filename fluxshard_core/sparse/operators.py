"""What a backend offers the executor: operators over tiles and over whole maps.

Tensors are channels-last: tiles ``(n, h, w, C)``, a whole map ``(1, H, W, C)``. For one backend
and dtype both forms of an operator must agree bit for bit on every cell they share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.layout import Halo, LevelLayout, Patch
from fluxshard_core.sparse.memory import Allocate
from fluxshard_core.sparse.movers import CellMover
from fluxshard_core.sparse.nodes import DenseIsland, Node
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import TileGrid, TileSet
from fluxshard_kernels.cpu.records import Kind

if TYPE_CHECKING:
    from fluxshard_core.sparse.binding import Binding
    from fluxshard_core.sparse.network import Network
    from fluxshard_core.sparse.schedule import Schedule


class TileSource(Protocol):
    """The features an operator over tiles reads: one store, or those of several endpoints."""

    def gather(self, tiles: TileSet, patch: Patch, pad_value: float = 0.0) -> torch.Tensor:
        """Return each tile's patch ``(n, *extent, C)``, valid until the next gather."""
        ...

    def enlarge(self, tiles: TileSet, factor: int) -> torch.Tensor:
        """Return finer tiles ``(n, h, w, C)`` whose cells copy the ones they lie in."""
        ...


class WindowOperator(Protocol):
    """Reads a neighbourhood, or another level, and so needs its input in a store."""

    @property
    def patch(self) -> Patch:
        """The rectangle of input that one tile of output reads."""
        ...

    @property
    def pad_value(self) -> float:
        """What it sees outside the frame."""
        ...

    def tiles(self, store: TileSource, tiles: TileSet) -> torch.Tensor:
        """Compute the output over ``tiles`` of the output level."""
        ...

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates that ``tiles`` really executes."""
        ...


@runtime_checkable
class WholeWindowOperator(WindowOperator, Protocol):
    """One that also has a form for whole maps."""

    def dense(self, x: torch.Tensor, store: FeatureStore) -> torch.Tensor:
        """Compute the whole output from the whole input, which ``store`` holds too."""
        ...


class PointOperator(Protocol):
    """Reads only the same cell of its inputs: one form serves tiles and whole maps."""

    def apply(self, *values: torch.Tensor) -> torch.Tensor:
        """Compute the output of any batch of cells."""
        ...

    def multiply_accumulates(self, tiles: TileSet) -> int:
        """Multiply-accumulates that ``tiles`` really executes."""
        ...


class IslandOperator(Protocol):
    """Reads and writes whole maps."""

    def dense(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Run the subgraph."""
        ...


class Runner(Protocol):
    """Runs whole frames of one binding.

    While ``timings`` is a dictionary, seconds by kind of operator are added to it by those runners
    whose operators cannot be seen from Python.
    """

    timings: dict[Kind, float] | None

    def dense(self, network: Network, image: torch.Tensor) -> None:
        """Compute every map from ``image`` ``(1, H, W, C)``, in any memory layout."""
        ...

    def blocks(
        self,
        networks: Sequence[Network],
        images: Sequence[torch.Tensor],
        schedules: Sequence[Schedule],
    ) -> list[int]:
        """Recompute the active tiles of one or several networks whose caches have been moved.

        Returns the multiply-accumulates that each executed. ``images`` as for :meth:`dense`.
        """
        ...

    def steps(
        self, network: Network, image: torch.Tensor, schedule: Schedule | None
    ) -> Iterator[None]:
        """As :meth:`blocks` of one network, or as :meth:`dense` without a schedule, pausing after
        every operator. Other frames may run in the meantime, but none of this network."""
        ...


class Backend(Protocol):
    """Builds operators, what runs them, and the stores they read."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the features."""
        ...

    def window_operator(self, plan: Plan, node: Node, grid: TileGrid) -> WindowOperator:
        """Return the operator of ``node``, whose output is cut by ``grid``."""
        ...

    def point_operator(self, plan: Plan, node: Node) -> PointOperator:
        """Return the operator of ``node``."""
        ...

    def island_operator(self, plan: Plan, node: DenseIsland) -> IslandOperator:
        """Return the operator of ``node``."""
        ...

    def runner(self, binding: Binding, *, filtered: bool) -> Runner:
        """Return what runs whole frames of ``binding``; ``filtered`` as for its caches."""
        ...

    def store(
        self, layout: LevelLayout, channels: int, pad_value: float, allocate: Allocate
    ) -> FeatureStore:
        """Make the cache of one feature map."""
        ...

    def layout(self, level: Level, halo: Halo, *, filtered: bool) -> LevelLayout:
        """Return where the cells of a level's cached maps lie; ``filtered`` as for its caches."""
        ...

    def mover(self, layout: LevelLayout, *, filtered: bool) -> CellMover:
        """Return what moves the cached maps of a level; ``filtered`` as for its caches, whose
        tiles are gathered from their places."""
        ...

    def mover_bytes(self, layout: LevelLayout, *, filtered: bool) -> int:
        """Return the memory that :meth:`mover` would take for maps that are not overwritten."""
        ...

    def store_bytes(self, layout: LevelLayout, channels: int) -> int:
        """Return the memory that :meth:`store` would take."""
        ...

    def image(self, frame: torch.Tensor) -> torch.Tensor:
        """Bring ``(1, C, H, W)`` to what its runners take: ``(1, H, W, C)`` in the backend's dtype,
        or, of bytes, bytes."""
        ...
