"""What a block-mode frame will recompute and what that costs, known before anything is computed.

The executor runs a schedule. An edge that only has the same plan draws up the same one, and so
knows to the cell what a cloud that gets its motion and blocks is going to recompute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.remap import FeatureRemap, Int16, Level, LevelMotion
from fluxshard_core.sparse.active import Blocks, Bool, requested_tiles, with_lost_cells
from fluxshard_core.sparse.nodes import CacheNeed, DenseIsland
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.tiles import tile_grids
from fluxshard_core.threads import compute_threads

# Executed share of the dense multiply-accumulates above which a dense run is the faster one.
CROSSING = 0.8
# Cells that cached content may lie away from its place before it is recomputed.
RESIDUAL_LIMIT = 1.0

MOSTLY_ACTIVE = "most of the frame is active"


@dataclass(frozen=True, eq=False)
class Schedule:
    """One frame: ``active`` tiles and the ``recomputed`` cells ``(H, W)`` they cover, per level,
    and where everything else moves. ``compute_ratio`` is the expected share of the dense
    multiply-accumulates, 1 where ``dense_reason`` says why the whole frame is computed."""

    active: Mapping[Level, Bool]
    recomputed: Mapping[Level, Bool]
    moved: Mapping[Level, LevelMotion]
    compute_ratio: float
    dense_reason: str = ""

    @property
    def still(self) -> bool:
        """Whether every cached cell stays where it is."""
        return all(m.uniform and m.common == (0, 0) for m in self.moved.values())


class BlockScheduler:
    """Turns motion and critical blocks into schedules; remembers the remainders of the remap.

    For each frame ``next``, then ``settle`` once it ran: a schedule that is not settled changes
    nothing.
    """

    def __init__(
        self,
        plan: Plan,
        tile_sizes: Mapping[int, int] | None = None,
        *,
        crossing: float = CROSSING,
        residual_limit: float = RESIDUAL_LIMIT,
        carry_residual: bool = True,
    ) -> None:
        """Prepare for ``plan``; the options are those of :class:`ExecutorOptions`."""
        self.grids = tile_grids(plan, tile_sizes or {})
        self._crossing = crossing
        self._residual_limit = residual_limit
        self._carry_residual = carry_residual
        self._remap = FeatureRemap(_moving_levels(plan))
        self._level_cost, self._fixed_cost = _costs(plan)
        self.dense_cost = self._fixed_cost + sum(self._level_cost.values())
        """Multiply-accumulates of a frame computed whole."""

    def reset(self) -> None:
        """All cached cells are where they belong: a dense run, or none yet."""
        self._remap.reset()

    def remainder(self, level: Level) -> Int16 | None:
        """Return what the cells of a level still have to move, as :class:`LevelMotion` has it."""
        return self._remap.remainder(level)

    def follow(self, motion: MotionField) -> dict[Level, LevelMotion]:
        """Return where every level's cached cells are, ``motion`` counted since the last run."""
        return self._remap.follow(motion, compute_threads())

    def next(self, motion: MotionField, blocks: Blocks) -> Schedule:
        """Return what a frame with ``motion`` since the last one and critical ``blocks`` does."""
        asked = requested_tiles(self.grids, blocks)
        if self._cost(asked) > self._crossing:
            return self.dense(MOSTLY_ACTIVE)
        return self._complete(asked, self.follow(motion))

    def after(self, moved: Mapping[Level, LevelMotion], blocks: Blocks) -> Schedule:
        """As :meth:`next`, for the motion that ``follow`` already turned into ``moved``."""
        return self._complete(requested_tiles(self.grids, blocks), moved)

    def _complete(
        self, asked: Mapping[Level, Bool], moved: Mapping[Level, LevelMotion]
    ) -> Schedule:
        active = with_lost_cells(asked, self.grids, moved, self._residual_limit)
        cost = self._cost(active)
        if cost > self._crossing:
            return self.dense(MOSTLY_ACTIVE)
        recomputed = {level: self.grids[level].cells(tiles) for level, tiles in active.items()}
        return Schedule(active, recomputed, moved, cost)

    def dense(self, reason: str) -> Schedule:
        """Return the schedule of a frame computed whole."""
        active = {level: np.ones(grid.shape, dtype=np.bool_) for level, grid in self.grids.items()}
        recomputed = {level: np.ones(level.shape, dtype=np.bool_) for level in self.grids}
        return Schedule(active, recomputed, {}, 1.0, reason)

    def settle(self, schedule: Schedule) -> None:
        """Remember that ``schedule`` was run."""
        if schedule.dense_reason or not self._carry_residual:
            self._remap.reset()
        else:
            self._remap.settle(schedule.moved, schedule.recomputed)

    def _cost(self, active: Mapping[Level, Bool]) -> float:
        """Share of the dense multiply-accumulates, the padding of batches included."""
        spent = float(self._fixed_cost)
        for level, cost in self._level_cost.items():
            grid = self.grids[level]
            rows, cols = grid.tile_shape
            cells = grid.batch(int(np.count_nonzero(active[level]))) * rows * cols
            spent += cost * cells / (level.height * level.width)
        return spent / max(1, self.dense_cost)


def _moving_levels(plan: Plan) -> set[Level]:
    """Levels with a cached map other than the input, which every frame replaces whole."""
    return {
        spec.level
        for name, spec in plan.tensors.items()
        if spec.stride and spec.cache is CacheNeed.ALWAYS and name not in plan.inputs
    }


def _costs(plan: Plan) -> tuple[dict[Level, int], int]:
    """Dense multiply-accumulates of each level's operators, and those of all islands."""
    by_level: dict[Level, int] = {}
    fixed = 0
    for node in plan.nodes:
        if isinstance(node, DenseIsland):
            fixed += node.multiply_accumulates
        else:
            spec = plan.tensors[node.output]
            by_level[spec.level] = by_level.get(spec.level, 0) + plan.multiply_accumulates(node)
    return by_level, fixed
