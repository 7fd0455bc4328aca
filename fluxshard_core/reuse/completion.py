"""A motion for blocks the source has none for: a guess that the pixels then confirm or refute."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import MotionField

Bool = npt.NDArray[np.bool_]


def completed(motion: MotionField) -> MotionField:
    """Return the field with every invalid block moving like the nearest blocks that do move.

    Encoders code flat blocks without a vector where that is as cheap, not because their content
    is new. The guess is the mean of known neighbours, outwards ring by ring; whoever uses it must
    compare pixels. A field without a valid block (a cut, a first frame) is returned as it is.
    """
    known = motion.valid
    if known.all() or not known.any():
        return motion
    vectors = motion.vectors.astype(np.float32)
    while not known.all():
        vectors, known = _spread(vectors, known)
    return MotionField(np.rint(vectors).astype(np.int16), known, motion.cost, motion.block_size)


def _spread(vectors: npt.NDArray[np.float32], known: Bool) -> tuple[npt.NDArray[np.float32], Bool]:
    """Give unknown blocks that touch known ones the mean of those."""
    weights = np.pad(known.astype(np.float32), 1)
    sums = np.pad(np.where(known[..., None], vectors, 0), ((1, 1), (1, 1), (0, 0)))
    rows, cols = known.shape
    total, count = np.zeros_like(vectors), np.zeros(known.shape, np.float32)
    for dy in range(3):
        for dx in range(3):
            total += sums[dy : dy + rows, dx : dx + cols]
            count += weights[dy : dy + rows, dx : dx + cols]
    reached: Bool = count > 0
    filled = total / np.maximum(count, 1)[..., None]
    return np.where((known | ~reached)[..., None], vectors, filled), reached
