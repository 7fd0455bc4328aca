"""Which tiles block mode recomputes: the blocks asked for, and cells that nothing moved to."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL
from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.sparse.tiles import TileGrid
from fluxshard_kernels.cpu.library import load_if_possible

Bool = npt.NDArray[np.bool_]
Blocks = Bool | Mapping[int, Bool]
_HALF_A_CELL = 0.5


def requested_tiles(grids: Mapping[Level, TileGrid], blocks: Blocks) -> dict[Level, Bool]:
    """Return the tiles of every level that overlap a requested block.

    ``blocks`` as for :meth:`Executor.run`; a branch without a set of its own goes with the
    trunk. The result has one bool per tile of each grid.
    """
    requested = {}
    for level, grid in grids.items():
        wanted = _wanted(level, blocks)
        if wanted is None:
            requested[level] = np.zeros(grid.shape, dtype=np.bool_)
        else:
            requested[level] = grid.cover_blocks(wanted, BLOCK_SIZE)
    return requested


def _wanted(level: Level, blocks: Blocks) -> Bool | None:
    if not isinstance(blocks, Mapping):
        return blocks
    own = blocks.get(level.key)
    return blocks.get(level.stride) if own is None else own


def with_lost_cells(
    requested: Mapping[Level, Bool],
    grids: Mapping[Level, TileGrid],
    moved: Mapping[Level, LevelMotion],
    residual_limit: float,
) -> dict[Level, Bool]:
    """Add the tiles of cells that nothing moved to, ``residual_limit`` as in the options."""
    active = dict(requested)
    for level, motion in moved.items():
        lost = lost_cells(motion, residual_limit)
        if lost.any():
            active[level] = active[level] | grids[level].cover(lost)
    return active


def lost_cells(motion: LevelMotion, residual_limit: float) -> Bool:
    """Cells ``(H, W)`` that no cached cell belongs to: unknown, from outside, or too far away.

    Regions recomputed at different times carry different residuals, so that a steady pan opens
    seams one cell wide between them, where the nearest content lies between half a cell and one
    away. ``residual_limit`` in cells says how far away it may lie; half a cell closes no seam.
    """
    library = load_if_possible()
    if library is None:
        return lost_cells_plainly(motion, residual_limit)
    level, cell = motion.level, motion.level.stride * QUARTER_PEL
    closes = motion.residual is not None and residual_limit > _HALF_A_CELL
    return library.lost(
        (cell, *level.shape),
        np.ascontiguousarray(motion.shift),
        np.ascontiguousarray(motion.residual) if closes else None,
        np.ascontiguousarray(motion.valid),
        residual_limit * cell,
    )


def lost_cells_plainly(motion: LevelMotion, residual_limit: float) -> Bool:
    """Do what :func:`lost_cells` does, in numpy."""
    lost: Bool = ~motion.valid
    if motion.residual is None or residual_limit <= _HALF_A_CELL or not lost.any():
        return lost
    rows, cols = np.nonzero(lost)
    distance = np.abs(motion.residual[:, rows, cols]).max(axis=0)
    cell = motion.level.stride * QUARTER_PEL
    source = rows - motion.shift[0, rows, cols], cols - motion.shift[1, rows, cols]
    seam = (distance * 2 > cell) & (distance < residual_limit * cell)
    for index, size in zip(source, motion.level.shape, strict=True):
        seam &= (index >= 0) & (index < size)
    lost[rows[seam], cols[seam]] = False
    return lost
