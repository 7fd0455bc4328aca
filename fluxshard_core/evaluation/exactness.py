"""Check that exact mode gives, bit for bit, what a dense run of the same backend gives."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL, MotionField, block_grid
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.plan import Plan

UInt8 = npt.NDArray[np.uint8]


@dataclass
class Tally:
    """What was compared so far: frames, those that differ anywhere, the largest difference."""

    compared: int = 0
    mismatches: int = 0
    max_abs_error: float = 0.0
    executed: int = 0
    dense: int = 0

    @property
    def compute_ratio(self) -> float:
        """Executed over dense multiply-accumulates; 1 would mean that nothing was reused."""
        return self.executed / max(1, self.dense)


class ExactnessCheck:
    """An exact-mode executor beside one that forgets everything before every frame.

    The exact one never gives up on tiles, however many are active, so that the tiled path is what
    is compared.
    """

    def __init__(self, plan: Plan, backend: Backend) -> None:
        options = ExecutorOptions(mode="exact", crossing=math.inf)
        self._exact = Executor(plan, backend, options)
        self._dense = Executor(plan, backend, options)

    def compare(self, tally: Tally, frame: Tensor, motion: MotionField | None) -> None:
        """Run ``frame`` ``(1, C, H, W)``, which ``motion`` led to, and note the result."""
        run = self._exact.run(frame, motion)
        self._dense.reset()
        reference = self._dense.run(frame)
        error = max(map(_largest_difference, run.outputs, reference.outputs))
        tally.compared += 1
        tally.mismatches += error > 0.0
        tally.max_abs_error = max(tally.max_abs_error, error)
        tally.executed += run.executed
        tally.dense += run.dense


def _largest_difference(left: Tensor, right: Tensor) -> float:
    """The largest absolute difference, infinite where only one side is finite."""
    if torch.equal(left, right):
        return 0.0
    difference = (left.double() - right.double()).abs()
    return float(difference.nan_to_num(nan=math.inf).max())


def random_motion(rng: np.random.Generator, height: int, width: int) -> MotionField:
    """Piecewise motion: one for the frame, others for up to three rectangles, some unknown.

    Whole pixels, often multiples of 8 to 32 so that deep levels move whole cells, and up to a
    quarter of the frame, so that content enters and leaves.
    """
    rows, cols = block_grid(height, width)
    vectors = np.empty((rows, cols, 2), dtype=np.int16)
    step = int(rng.choice([0, 0, 1, 8, 16, 32]))
    vectors[...] = _vector(rng, step, height, width)
    for _ in range(rng.choice([0, 0, 1, 3])):
        top, left = int(rng.integers(rows)), int(rng.integers(cols))
        bottom = int(rng.integers(top, rows)) + 1
        right = int(rng.integers(left, cols)) + 1
        step = int(rng.choice([0, 1, 16, 32]))
        vectors[top:bottom, left:right] = _vector(rng, step, height, width)
    valid = rng.random((rows, cols)) >= rng.choice([0.0, 0.0, 0.02])
    return MotionField(vectors, valid)


def _vector(rng: np.random.Generator, step: int, height: int, width: int) -> list[int]:
    """One ``(dx, dy)`` in quarter pixels, a multiple of ``step`` pixels."""
    if step == 0:
        return [0, 0]
    limits = [max(1, side // (4 * step)) for side in (width, height)]
    return [int(rng.integers(-limit, limit + 1)) * step * QUARTER_PEL for limit in limits]


def moved_image(rng: np.random.Generator, image: UInt8, motion: MotionField) -> UInt8:
    """Move ``image`` ``(H, W, 3)`` along ``motion`` (whole pixels) and change a few rectangles.

    What comes from outside the frame, or from nowhere known, is noise.
    """
    height, width = image.shape[:2]
    rows, cols = np.indices((height, width), sparse=True)
    block = rows // BLOCK_SIZE, cols // BLOCK_SIZE
    dx, dy = np.moveaxis(motion.vectors[block] // QUARTER_PEL, -1, 0)
    source_rows, source_cols = rows - dy, cols - dx
    known = motion.valid[block] & (source_rows >= 0) & (source_rows < height)
    known &= (source_cols >= 0) & (source_cols < width)
    noise = rng.integers(0, 256, image.shape, dtype=np.uint8)
    moved = image[np.clip(source_rows, 0, height - 1), np.clip(source_cols, 0, width - 1)]
    result: UInt8 = np.where(known[..., None], moved, noise)
    for _ in range(rng.integers(0, 3)):
        top, left = int(rng.integers(height)), int(rng.integers(width))
        size = int(rng.integers(1, max(2, min(64, height // 4))))
        area = (slice(top, top + size), slice(left, left + size))
        result[area] = noise[area]
    return result
