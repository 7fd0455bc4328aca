"""FFmpeg's exported motion vectors (AVMotionVector) merged to one vector per 16x16 block."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from av import VideoFrame

from fluxshard_core.motion.field import (
    BLOCK_SIZE,
    MAX_QUARTER_PEL,
    QUARTER_PEL,
    MotionField,
    block_grid,
)

CELL = 8  # FFmpeg exports no H.264 partition finer than 8x8
CELLS = BLOCK_SIZE // CELL


def frame_field(frame: VideoFrame) -> MotionField:
    """Return the field of a decoded frame whose vectors all point to the previous frame.

    Inter blocks, skipped ones included, carry the vector the decoder used; intra blocks export
    none and are invalid. A frame that is not sound (``is_corrupt``) or follows a scene cut is
    invalid everywhere.
    """
    side_data = frame.side_data.get("MOTION_VECTORS")
    if side_data is None or frame.is_corrupt:
        return MotionField.invalid(frame.height, frame.width)
    exported = side_data.to_ndarray()
    return merge_vectors(exported, frame.height, frame.width).invalid_if_cut()


def merge_vectors(exported: npt.NDArray[np.void], height: int, width: int) -> MotionField:
    """Merge exported vectors to the block grid of a ``height x width`` image.

    ``exported`` has the fields of libavutil's ``AVMotionVector``, whose vector says where the
    prediction comes *from* (``src = dst + motion / scale``), the opposite of the backward motion
    stored here. Entries with ``source > 0`` predict from another list and are left out. A block
    is valid when all of it is covered; its vector is the area-weighted vector median of its
    sub-blocks (the one with the least summed L1 distance to the others, the smaller one on ties).
    """
    rows, cols = block_grid(height, width)
    used = exported[exported["source"] < 0]
    if _whole_blocks(used):
        vectors, valid = _paint(used, rows, cols, BLOCK_SIZE)
    else:
        cells, covered = _paint(used, rows * CELLS, cols * CELLS, CELL)
        vectors = _vector_median(_by_block(cells, rows, cols)).reshape(rows, cols, 2)
        valid = _by_block(covered, rows, cols).all(axis=1).reshape(rows, cols)
    valid &= (np.abs(vectors) <= MAX_QUARTER_PEL).all(axis=2)
    vectors[~valid] = 0
    return MotionField(vectors.astype(np.int16), valid)


def _whole_blocks(exported: npt.NDArray[np.void]) -> bool:
    """Whether every partition is one block of the grid, as it is where x264 makes no others."""
    whole = (exported["w"] == BLOCK_SIZE) & (exported["h"] == BLOCK_SIZE)
    for centre in (exported["dst_x"], exported["dst_y"]):
        whole &= centre % BLOCK_SIZE == BLOCK_SIZE // 2
    return bool(whole.all())


def _paint(
    exported: npt.NDArray[np.void], height: int, width: int, side: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
    """Write each partition's quarter-pel motion into the cells, ``side`` pixels each, of a
    ``height x width`` grid."""
    w, h = exported["w"].astype(np.int32), exported["h"].astype(np.int32)
    x, y = (exported["dst_x"] - w // 2) // side, (exported["dst_y"] - h // 2) // side
    vector = np.stack([exported["motion_x"], exported["motion_y"]], axis=1)
    motion = -(vector * QUARTER_PEL) // exported["motion_scale"].astype(np.int32)[:, None]
    cells = np.zeros((height, width, 2), dtype=np.int32)
    covered = np.zeros((height, width), dtype=np.bool_)
    for dy in range(BLOCK_SIZE // side):
        for dx in range(BLOCK_SIZE // side):
            at_y, at_x = y + dy, x + dx
            part = (w > dx * side) & (h > dy * side)
            part &= (at_y >= 0) & (at_y < height) & (at_x >= 0) & (at_x < width)
            at = (at_y[part], at_x[part])
            cells[at] = motion[part]
            covered[at] = True
    return cells, covered


def _by_block(cells: npt.NDArray[Any], rows: int, cols: int) -> npt.NDArray[Any]:
    """Regroup ``(rows * CELLS, cols * CELLS, ...)`` cells to ``(rows * cols, CELLS**2, ...)``."""
    tail = cells.shape[2:]
    split = cells.reshape(rows, CELLS, cols, CELLS, *tail).swapaxes(1, 2)
    return split.reshape(rows * cols, CELLS * CELLS, *tail)


def _vector_median(cells: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the ``(blocks, 2)`` vector medians of ``(blocks, cells, 2)`` vectors."""
    median = cells[:, 0].copy()
    mixed = np.flatnonzero((cells != cells[:, :1]).any(axis=(1, 2)))
    some = cells[mixed].astype(np.int64)
    distance = np.abs(some[:, :, None] - some[:, None]).sum(axis=(2, 3))
    size = np.abs(some).sum(axis=2)
    best = np.argmin(distance * (size.max(initial=0) + 1) + size, axis=1)
    median[mixed] = cells[mixed, best]
    return median
