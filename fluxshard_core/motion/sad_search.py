"""Exhaustive SAD search over whole frames: one vectorised pass per displacement."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import block_grid
from fluxshard_core.motion.source import UInt8

Int32 = npt.NDArray[np.int32]
INADMISSIBLE = np.int32(2**31 - 1)


def sad_search(
    current: UInt8, previous: UInt8, block_size: int, radius: int
) -> tuple[Int32, Int32]:
    """Find each block of ``current`` in ``previous`` within ``radius`` whole pixels per axis.

    The fast form of ``fluxshard_kernels.reference.sad_search``, equal to it in every result:
    returns ``(rows, cols, 2)`` int32 backward displacements ``(dx, dy)`` and ``(rows, cols)``
    int32 sums. Only sources wholly inside the frame count; the shortest of equals wins.
    """
    rows, cols = block_grid(current.shape[0], current.shape[1], block_size)
    vectors = np.zeros((rows, cols, 2), dtype=np.int32)
    best = np.full((rows, cols), INADMISSIBLE)
    for displacement, sads in displacement_sads(current, previous, block_size, radius):
        keep_better(vectors, best, displacement, sads)
    return vectors, best


def keep_better(vectors: Int32, best: Int32, displacement: tuple[int, int], sads: Int32) -> None:
    """Take ``displacement`` in place wherever its sum is strictly the lowest so far."""
    better = sads < best
    vectors[better] = displacement
    np.minimum(best, sads, out=best)


def displacement_sads(
    current: UInt8, previous: UInt8, block_size: int, radius: int
) -> Iterator[tuple[tuple[int, int], Int32]]:
    """Yield each ``(dx, dy)``, shortest first, with the ``(rows, cols)`` int32 block sums.

    Blocks whose source would leave the frame have the sum ``INADMISSIBLE``.
    """
    height, width = current.shape
    y_edges, x_edges = _edges(height, block_size), _edges(width, block_size)
    corners = np.ix_(y_edges, x_edges)
    outside_y = {shift: _outside(y_edges, shift) for shift in range(-radius, radius + 1)}
    outside_x = {shift: _outside(x_edges, shift) for shift in range(-radius, radius + 1)}
    padded = np.pad(previous, radius)
    for dx, dy in shortest_first(radius):
        top, left = radius - dy, radius - dx
        source = padded[top : top + height, left : left + width]
        area = np.asarray(cv2.integral(cv2.absdiff(current, source)), dtype=np.int32)[corners]
        rows = area[1:] - area[:-1]
        sads = rows[:, 1:] - rows[:, :-1]
        sads[outside_y[dy]] = INADMISSIBLE
        sads[:, outside_x[dx]] = INADMISSIBLE
        yield (dx, dy), sads


def shortest_first(radius: int) -> list[tuple[int, int]]:
    """Return all ``(dx, dy)`` within ``radius`` per axis by length, then ``dy``, then ``dx``."""
    span = range(-radius, radius + 1)
    return sorted(
        ((dx, dy) for dy in span for dx in span), key=lambda d: (d[0] ** 2 + d[1] ** 2, d[1], d[0])
    )


def _edges(length: int, block_size: int) -> npt.NDArray[np.intp]:
    """Return where blocks start along one axis, and where the last one ends."""
    return np.append(np.arange(0, length, block_size), length)


def _outside(edges: npt.NDArray[np.intp], shift: int) -> npt.NDArray[np.bool_]:
    """Say which blocks along one axis have a source pixel outside the frame."""
    return np.asarray((edges[:-1] < shift) | (edges[1:] - shift > edges[-1]))
