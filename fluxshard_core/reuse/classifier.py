"""Which blocks are recomputed at which level: one pure function, its inputs all per block."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import BLOCK_SIZE
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.salience import SalientBlocks

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]


def classify(
    cost: Float32,
    salience: SalientBlocks,
    lost: Bool,
    age: Int32,
    residual: Mapping[int, Float32],
    config: ReuseConfig,
) -> dict[int, Bool]:
    """Return the critical blocks of every level, ``(rows, cols)`` bool by cumulative stride.

    All arrays are ``(rows, cols)`` over 16-pixel blocks: ``cost`` the difference from the moved
    reference in [0, 1]; ``lost`` where the motion knows no source; ``age`` frames since the block
    was recomputed; ``residual`` for every level the pixels that cached content lies off its place.

    Deeper levels never have fewer blocks than finer ones: what they keep was computed from what
    those keep.
    """
    everywhere = lost | (cost > config.background_threshold) | (age >= config.max_age)
    if everywhere.mean() >= config.cut_share:
        return {stride: np.ones_like(lost) for stride in residual}
    salient = salience.confidence > 0
    allowed = config.residual_share * np.where(salient, salience.size, np.float32(0))
    critical = everywhere
    levels = {}
    for stride in sorted(residual):
        fine = stride <= config.fine_stride
        threshold = config.fine_threshold if fine else config.deep_threshold
        stale = salient & ((cost > threshold) | (residual[stride] > allowed))
        critical = critical | (grown(stale, config.reach) & salient)
        levels[stride] = critical
    return levels


def grown(blocks: Bool, reach: int) -> Bool:
    """Add the blocks within ``reach`` pixels, whole blocks, of the marked ones, diagonals too."""
    steps = reach // BLOCK_SIZE
    for axis in (0, 1):
        lines = np.moveaxis(blocks, axis, 0)
        wider = lines.copy()
        for step in range(1, steps + 1):
            wider[step:] |= lines[:-step]
            wider[:-step] |= lines[step:]
        blocks = np.moveaxis(wider, 0, axis)
    return np.ascontiguousarray(blocks)
