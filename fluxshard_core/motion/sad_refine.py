"""SAD of one candidate vector per block, to a quarter pixel: how coarse matches get exact."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from fluxshard_core.motion.field import QUARTER_PEL, block_grid
from fluxshard_core.motion.sad_search import INADMISSIBLE, Int32
from fluxshard_core.motion.source import UInt8

# Interpolation averages sensor noise away, so on still and noisy blocks fractional vectors win by
# a little; this much (grey levels per pixel) they must win by to be believed.
FRACTION_HANDICAP = 0.25

# Catmull-Rom at the four quarter phases.
_TAPS = np.array(
    [
        [0.0, 1.0, 0.0, 0.0],
        [-0.0703125, 0.8671875, 0.2265625, -0.0234375],
        [-0.0625, 0.5625, 0.5625, -0.0625],
        [-0.0234375, 0.2265625, 0.8671875, -0.0703125],
    ],
    dtype=np.float32,
)


class CandidateMatcher:
    """Holds one pair of frames and improves one vector per block, candidate by candidate.

    ``vectors`` ``(blocks, 2)`` int32 ``(dx, dy)`` in quarter pixels and ``sads`` ``(blocks,)``
    int32 are the best match so far, starting at zero motion. To replace it a candidate needs to
    lie within ``radius`` pixels per axis, its whole source inside the frame, and a lower sum, or
    an equal sum and a shorter vector. ``areas`` ``(blocks,)`` int32 counts each block's pixels.
    """

    def __init__(self, current: UInt8, previous: UInt8, block_size: int, radius: int) -> None:
        """Cut ``current`` ``(height, width)`` uint8 into blocks to be found in ``previous``."""
        height, width = current.shape
        rows, cols = block_grid(height, width, block_size)
        self._block_size = block_size
        self._size = np.array([width, height], dtype=np.int32)
        self._padding = ((0, rows * block_size - height), (0, cols * block_size - width))
        self._blocks = self._cut(current)
        self._shown = self._cut(np.ones_like(current)) if np.any(self._padding) else None
        row, col = np.divmod(np.arange(rows * cols, dtype=np.int32), cols)
        self._start = np.stack([col, row], axis=1) * np.int32(block_size)
        self._end = np.minimum(self._start + block_size, self._size)
        self._radius = radius * QUARTER_PEL
        self.grid = (rows, cols)
        self.areas = (self._end - self._start).prod(axis=1, dtype=np.int32)
        self._previous = previous
        self._windows = self._windows_of(np.pad(previous, self._padding)[None])
        self.vectors = np.zeros((rows * cols, 2), dtype=np.int32)
        self.sads = self._measure(self.vectors)

    def propose(self, vectors: Int32, handicap: float = 0.0) -> None:
        """Take the ``(blocks, 2)`` quarter-pel ``vectors`` wherever they match better.

        ``handicap`` is how much better, in grey levels per pixel.
        """
        inside = self._inside(vectors)
        sads = np.where(inside, self._measure(np.where(inside[:, None], vectors, 0)), INADMISSIBLE)
        shorter = (vectors**2).sum(axis=1) < (self.vectors**2).sum(axis=1)
        better = (sads + handicap * self.areas < self.sads) | ((sads == self.sads) & shorter)
        self.vectors = np.where(better[:, None], vectors, self.vectors)
        self.sads = np.where(better, sads, self.sads)

    def search_around(self, step: int) -> None:
        """Propose the eight vectors ``step`` quarter pixels away from the best ones."""
        if step % QUARTER_PEL and len(self._windows) == 1:
            self._windows = self._windows_of(_quarter_phases(self._previous, self._padding))
        centre, handicap = self.vectors, FRACTION_HANDICAP if step % QUARTER_PEL else 0.0
        for dy in (-step, 0, step):
            for dx in (-step, 0, step):
                if dx or dy:
                    self.propose(centre + np.array([dx, dy], dtype=np.int32), handicap)

    def propose_neighbours(self) -> None:
        """Propose to each block the best vectors of the blocks above, below, left and right."""
        best = np.pad(self.vectors.reshape(*self.grid, 2), ((1, 1), (1, 1), (0, 0)), mode="edge")
        for vectors in (best[:-2, 1:-1], best[2:, 1:-1], best[1:-1, :-2], best[1:-1, 2:]):
            self.propose(vectors.reshape(-1, 2))

    def _inside(self, vectors: Int32) -> npt.NDArray[np.bool_]:
        first = self._start * QUARTER_PEL - vectors
        last = (self._end - 1) * QUARTER_PEL - vectors
        inside = (first >= 0) & (last <= (self._size - 1) * QUARTER_PEL)
        inside &= np.abs(vectors) <= self._radius
        return np.asarray(inside.all(axis=1))

    def _measure(self, vectors: Int32) -> Int32:
        """Return each block's sum of absolute differences at a vector that stays inside."""
        whole, phase = np.divmod(self._start * QUARTER_PEL - vectors, QUARTER_PEL)
        plane = phase[:, 1] * QUARTER_PEL + phase[:, 0]
        source = self._windows[plane, whole[:, 1], whole[:, 0]].reshape(self._blocks.shape)
        difference = cv2.absdiff(self._blocks, source)
        if self._shown is not None:
            difference *= self._shown
        sums = cv2.reduce(difference, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32S)
        return np.asarray(sums, dtype=np.int32)[:, 0]

    def _windows_of(self, phases: UInt8) -> UInt8:
        """View ``(phases, y, x)`` planes as the block that starts at each of their pixels."""
        window = (self._block_size, self._block_size)
        return sliding_window_view(phases, window, axis=(1, 2))

    def _cut(self, plane: UInt8) -> UInt8:
        """Return a plane's blocks, zeros beyond its border, as ``(blocks, block_size**2)``."""
        side = self._block_size
        padded = np.pad(plane, self._padding)
        blocks = padded.reshape(len(padded) // side, side, -1, side).swapaxes(1, 2)
        return np.ascontiguousarray(blocks).reshape(-1, side * side)


def _quarter_phases(plane: UInt8, padding: tuple[tuple[int, int], tuple[int, int]]) -> UInt8:
    """Return 16 padded copies; number ``4 * j + i`` is sampled at ``(y + j/4, x + i/4)``."""
    (_, bottom), (_, right) = padding
    height, width = plane.shape
    phases = np.zeros((QUARTER_PEL, QUARTER_PEL, height + bottom, width + right), dtype=np.uint8)
    border = cv2.BORDER_REPLICATE
    for i, across in enumerate(_TAPS):
        column = cv2.filter2D(plane, -1, across[None], None, (1, 0), 0, border)
        for j, down in enumerate(_TAPS):
            shifted = cv2.filter2D(column, -1, down[:, None], None, (0, 1), 0, border)
            phases[j, i, :height, :width] = shifted
    return phases.reshape(QUARTER_PEL**2, height + bottom, width + right)
