"""Motion accumulated since an endpoint last ran: where each block's cached content came from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import (
    BLOCK_SIZE,
    MAX_QUARTER_PEL,
    QUARTER_PEL,
    MotionField,
    block_grid,
)

Int32 = npt.NDArray[np.int32]


class MotionAccumulator:
    """The accumulated backward field ``M`` of one endpoint, for one image size.

    Every frame ``M(p) <- M(p - m(p)) + m(p)`` with ``p`` the centre of a block's visible part and
    ``M`` looked up in the block that ``p - m(p)`` falls in. A block turns invalid when its step
    is invalid, when it came from an invalid block, or when its source or its whole path back lies
    outside the image. It stays so, and spreads with the motion, until :meth:`reset`.

    ``field`` is the current ``M``; a vector beyond int16 (8191 px) is invalid, never wrapped.
    """

    def __init__(self, height: int, width: int, block_size: int = BLOCK_SIZE) -> None:
        """Start at zero motion for a ``height x width`` image.

        :raises InputError: if a size is not positive.
        """
        rows, cols = block_grid(height, width, block_size)
        self.height, self.width = height, width
        self._block_size = block_size
        self._limit = np.array([width, height], dtype=np.int32) * QUARTER_PEL
        self._centre = np.empty((rows, cols, 2), dtype=np.int32)
        self._centre[..., 0] = _centres(width, cols, block_size)[None, :]
        self._centre[..., 1] = _centres(height, rows, block_size)[:, None]
        self.reset()

    def reset(self) -> None:
        """Return to zero motion, valid everywhere: the endpoint has just run."""
        self.field = MotionField.zero(self.height, self.width, self._block_size)

    def absorb(self, step: MotionField) -> MotionField:
        """Add the motion of one more frame and return the new ``field``.

        :raises InputError: if ``step`` is for another image or block size.
        """
        self._check(step)
        motion = step.vectors.astype(np.int32)
        source = self._centre - motion
        valid = step.valid & self._inside(source)
        cell = np.clip(source, 0, self._limit - 1) // (QUARTER_PEL * self._block_size)
        came_from = (cell[..., 1], cell[..., 0])
        total = motion + self.field.vectors[came_from]
        valid &= self.field.valid[came_from] & self._inside(self._centre - total)
        valid &= (np.abs(total) <= MAX_QUARTER_PEL).all(axis=-1)
        total[~valid] = 0
        self.field = MotionField(total.astype(np.int16), valid, block_size=self._block_size)
        return self.field

    def _inside(self, position: Int32) -> npt.NDArray[np.bool_]:
        return np.asarray(((position >= 0) & (position < self._limit)).all(axis=-1))

    def _check(self, step: MotionField) -> None:
        if step.block_size != self._block_size or step.valid.shape != self.field.valid.shape:
            raise InputError(
                f"motion field has {step.rows}x{step.cols} blocks of {step.block_size} px but "
                f"{self.field.rows}x{self.field.cols} of {self._block_size} px were accumulated "
                f"for {self.height}x{self.width} images; start a new MotionAccumulator when the "
                "resolution changes"
            )


def _centres(length: int, blocks: int, block_size: int) -> Int32:
    """Return the centres of the visible part of each block along one axis, in quarter pixels."""
    start = np.arange(blocks, dtype=np.int32) * block_size
    end = np.minimum(start + block_size, length)
    return (start + end) * (QUARTER_PEL // 2)
