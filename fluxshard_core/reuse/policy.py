"""What a new frame makes critical on an endpoint, from what the endpoint holds of past ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL
from fluxshard_core.reuse.classifier import classify
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.criterion import PixelReference, block_difference
from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.reuse.salience import SalientBlocks

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

FINEST_WITH_RESIDUAL = 8  # at finer levels nothing lies off by more than two pixels


def critical_blocks(
    image: UInt8,
    reference: PixelReference,
    lost: Bool,
    moved: Mapping[Level, LevelMotion],
    keys: Iterable[int],
    salience: SalientBlocks,
    config: ReuseConfig,
) -> dict[int, Bool]:
    """Return the critical blocks ``(rows, cols)`` bool of every level in ``keys``.

    ``image`` ``(H, W, 3)`` uint8 is the network's input, sides multiples of 32. ``reference``,
    moved to it, is what the endpoint's caches were computed from; it knows nothing of the blocks
    ``lost``. ``moved`` says how far off the cells of each level lie.
    """
    nothing = np.zeros(lost.shape, dtype=np.float32)
    off = {
        level.key: _per_block(motion, lost.shape)
        for level, motion in moved.items()
        if level.stride >= FINEST_WITH_RESIDUAL
    }
    return classify(
        cost=block_difference(image, reference.image),
        salience=salience,
        lost=lost,
        age=reference.age,
        residual={key: off.get(key, nothing) for key in keys},
        config=config,
        owed=reference.owed,
    )


def _per_block(moved: LevelMotion, shape: tuple[int, ...]) -> Float32:
    """Pixels that the cached content of each block ``shape`` lies off its place at most."""
    if moved.residual is None:
        return np.zeros(shape, dtype=np.float32)
    off = np.abs(moved.residual).max(axis=0).astype(np.float32) / QUARTER_PEL
    stride = moved.level.stride
    if stride >= BLOCK_SIZE:
        side = stride // BLOCK_SIZE
        spread: Float32 = off.repeat(side, axis=0).repeat(side, axis=1)
        return spread
    side = BLOCK_SIZE // stride
    most: Float32 = off.reshape(shape[0], side, shape[1], side).max(axis=(1, 3))
    return most
