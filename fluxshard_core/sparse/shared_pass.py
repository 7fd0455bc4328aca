"""One pass over the frames of several endpoints: their tiles share every convolution.

The few tiles of one robot leave a convolution mostly overhead: a call, its set-up, all weights read
for a handful of cells. Per step each endpoint's tiles are gathered from its own cache into one
batch, computed in one call, and scattered back to their own caches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from fluxshard_core.errors import InputError
from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import Binding, IslandStep, PointStep, WindowStep
from fluxshard_core.sparse.block_pass import run_island
from fluxshard_core.sparse.executor import Executor, FrameRun
from fluxshard_core.sparse.layout import Patch
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.schedule import Schedule
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.sparse.store import FeatureStore
from fluxshard_core.sparse.tiles import JoinedTiles, TileSet


@dataclass(frozen=True, eq=False)
class Job:
    """One endpoint's next frame, as for :meth:`Executor.execute`."""

    executor: Executor
    frame: torch.Tensor
    schedule: Schedule


@torch.inference_mode()
def run_together(jobs: Sequence[Job]) -> list[FrameRun]:
    """Run a frame of each of several executors; each result is what it would be alone.

    Bit for bit where the backend is exact, else up to rounding. Executors that share a binding
    share a pass; a frame that is computed whole, or has no company, runs on its own.

    :raises InputError: an executor that occurs twice, or a frame that its executor refuses.
    """
    if len({id(job.executor) for job in jobs}) < len(jobs):
        raise InputError("an executor can run one frame at a time")
    runs: dict[int, FrameRun] = {}
    groups: dict[Binding, list[int]] = {}
    for index, job in enumerate(jobs):
        if not job.executor.runs_whole(job.schedule):
            groups.setdefault(job.executor.network.binding, []).append(index)
    for members in groups.values():
        if len(members) > 1:
            together = _run_shared([jobs[index] for index in members])
            runs |= dict(zip(members, together, strict=True))
    for index, job in enumerate(jobs):
        if index not in runs:
            runs[index] = job.executor.execute(job.frame, job.schedule)
    return [runs[index] for index in range(len(jobs))]


def _run_shared(jobs: Sequence[Job]) -> list[FrameRun]:
    images = [job.executor.begin(job.frame, job.schedule) for job in jobs]
    networks = [job.executor.network for job in jobs]
    tiles = {
        level: grid.select_together([job.schedule.active[level] for job in jobs])
        for level, grid in networks[0].grid.items()
    }
    shared_pass = SharedPass(networks, tiles)
    shared_pass.run(images)
    return [
        job.executor.finish(job.schedule, executed)
        for job, executed in zip(jobs, shared_pass.executed, strict=True)
    ]


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
