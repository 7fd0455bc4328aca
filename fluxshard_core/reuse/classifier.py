"""Which blocks are recomputed at which level: one pure function, its inputs all per block."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import BLOCK_SIZE
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.level_keys import is_head, is_trunk, source_of, stride_of
from fluxshard_core.reuse.salience import SalientBlocks

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

NOTHING_OWED: Mapping[int, Int32] = MappingProxyType({})
PHASES = 16


def classify(
    cost: Float32,
    salience: SalientBlocks,
    lost: Bool,
    age: Int32,
    residual: Mapping[int, Float32],
    config: ReuseConfig,
    owed: Mapping[int, Int32] = NOTHING_OWED,
) -> dict[int, Bool]:
    """Return the critical blocks of every level, ``(rows, cols)`` bool by its key.

    All arrays are ``(rows, cols)`` over 16-pixel blocks: ``cost`` the difference from the moved
    reference in [0, 1]; ``lost`` where the motion knows no source; ``age`` frames since the block
    was recomputed; ``residual`` for every level (``level_keys.py``) the pixels that cached content
    lies off its place; ``owed`` for heads and shape branches the changes that the trunk followed
    and they did not.

    Deeper levels of the trunk never have fewer blocks than finer ones: what they keep was computed
    from what those keep.
    """
    new = lost | (cost > config.background_threshold)
    everywhere = grown(new, config.new_reach) | (age >= due_ages(age.shape, config.max_age))
    if new.mean() >= config.cut_share:
        return {key: np.ones_like(lost) for key in residual}
    salient = salience.confidence > 0
    allowed = config.residual_share * np.where(salient, salience.size, np.float32(0))
    critical = everywhere
    levels = {}
    trunk = sorted(filter(is_trunk, residual))
    in_place = residual[trunk[-1]] == 0
    least = np.where(in_place, np.float32(config.still_threshold), np.float32(0))
    for key in trunk:
        threshold = np.maximum(_threshold(key, salience.ease, config), least)
        stale = salient & ((cost > threshold) | (residual[key] > allowed))
        critical = critical | (_with_surroundings(stale, cost, in_place, config) & salient)
        levels[key] = critical
    heads = sorted(filter(is_head, residual))
    for key in heads:
        reach = config.head_reach * stride_of(key) if key != heads[0] else 0
        wanted = grown(_near_fitting_objects(key, heads, salience, config), reach)
        changed = grown(levels[stride_of(key)], reach) | (owed.get(key, 0) > np.zeros_like(age))
        levels[key] = (wanted & (changed | (residual[key] > allowed))) | everywhere
    for key in residual.keys() - levels.keys():
        changes = owed.get(key, 0) + levels[source_of(key, residual)].astype(np.int32)
        every, slipped = _shapes(salience, config)
        levels[key] = (every & (changes >= config.shape_interval)) | (slipped & (changes > 0))
    return levels


def too_fast(salience: SalientBlocks, config: ReuseConfig) -> bool:
    """Return whether the frame is to be computed whole, whatever is critical: the scene moves too
    fast for an object whose class hangs in the balance."""
    return salience.motion >= config.whole_motion and salience.contest >= config.contested


def _threshold(stride: int, ease: Float32, config: ReuseConfig) -> Float32:
    """Difference above which a block on an object is recomputed."""
    if stride <= config.fine_stride:
        return np.float32(config.fine_threshold) + np.float32(config.fine_ease) * ease
    return np.float32(config.deep_threshold) + np.float32(config.deep_ease) * ease


def _with_surroundings(stale: Bool, cost: Float32, in_place: Bool, config: ReuseConfig) -> Bool:
    """Add what is recomputed around the blocks ``stale``: content moved around a moved object is
    a patchwork; content in its place is as good as it was, unless the change was large."""
    moved = grown(stale, config.reach) & ~in_place
    return stale | moved | grown(stale & (cost > config.reach_threshold), config.reach)


def _near_fitting_objects(
    key: int, heads: list[int], salience: SalientBlocks, config: ReuseConfig
) -> Bool:
    """Blocks near due objects of a size that the head finds: other heads find the others."""
    stride = stride_of(key)
    smallest = config.head_smallest * stride if key != heads[0] else 0.0
    largest = config.head_largest * stride if key != heads[-1] else math.inf
    near = np.zeros(salience.confidence.shape, dtype=np.bool_)
    for region in salience.regions:
        if smallest <= region.extent <= largest:
            near |= region.near
    return near


def _shapes(salience: SalientBlocks, config: ReuseConfig) -> tuple[Bool, Bool]:
    """Blocks that the shapes of due objects may reach that are sure enough for them to matter, and
    those among them of objects that have changed their shape."""
    every, slipped = np.zeros((2, *salience.confidence.shape), dtype=np.bool_)
    for region in salience.regions:
        if region.trust >= config.shape_confidence:
            every |= region.shape
            if region.slipped:
                slipped |= region.shape
    return every, slipped


@lru_cache(maxsize=64)
def due_ages(shape: tuple[int, ...], max_age: int) -> Int32:
    """Return the age ``(rows, cols)`` at which each block is recomputed even if nothing changed.

    From ``max_age`` to half as much again, neighbours apart: blocks that were all new in one frame
    do not all come due in one.
    """
    rows, cols = np.indices(shape, dtype=np.int32)
    phase = (5 * rows + 3 * cols) % PHASES
    due: Int32 = max_age + phase * max_age // (2 * PHASES)
    due.flags.writeable = False
    return due


def grown(blocks: Bool, reach: int) -> Bool:
    """Add the blocks within ``reach`` pixels, whole blocks, of the marked ones, diagonals too."""
    steps = reach // BLOCK_SIZE
    tall = blocks.copy()
    for step in range(1, steps + 1):
        tall[step:] |= blocks[:-step]
        tall[:-step] |= blocks[step:]
    wide = tall.copy()
    for step in range(1, steps + 1):
        wide[:, step:] |= tall[:, :-step]
        wide[:, :-step] |= tall[:, step:]
    return wide
