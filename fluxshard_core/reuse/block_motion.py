"""A frame's block motion as the levels read it: what most blocks share, and which differ."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.level import Bool, Index, Int16, Int32, Level

_GEOMETRIES = 256  # levels and frame sizes whose index arrays are kept


def most_frequent(rows: Int32, cols: Int32) -> tuple[int, int]:
    """Return the pair ``(rows[i], cols[i])`` that occurs most; zeros if there is none.

    Each number must fit 16 bits.
    """
    if not len(rows):
        return 0, 0
    packed = np.sort((rows << 16) + cols + 2**15)
    first = np.flatnonzero(packed[1:] != packed[:-1]) + 1
    bounds = np.concatenate(([0], first, [len(packed)]))
    lengths = bounds[1:] - bounds[:-1]
    most = int(packed[bounds[lengths.argmax()]])
    return most >> 16, (most & 0xFFFF) - 2**15


@dataclass(frozen=True, eq=False)
class BlockMotion:
    """``vectors`` ``(2, rows, cols)`` int16 quarter pixels ``(dy, dx)``; ``common`` the one that
    most known blocks have, zero if none is known; ``apart`` the known blocks with another one and
    ``unknown`` those without, ``(rows, cols)`` bool, or None where there are none."""

    vectors: Int16
    common: tuple[int, int]
    apart: Bool | None
    unknown: Bool | None
    block_size: int

    @classmethod
    def of(cls, motion: MotionField) -> BlockMotion:
        """Sort the blocks of ``motion``."""
        vectors = np.ascontiguousarray(motion.vectors[..., ::-1].transpose(2, 0, 1))
        common = most_frequent(*vectors[:, motion.valid].astype(np.int32))
        apart = (vectors[0] != common[0]) | (vectors[1] != common[1])
        apart &= motion.valid
        unknown = ~motion.valid
        return cls(
            vectors,
            common,
            apart if apart.any() else None,
            unknown if unknown.any() else None,
            motion.block_size,
        )


@dataclass(frozen=True, eq=False)
class Cover:
    """Which blocks each cell of a level lies in: ``rows`` ``(H, n)``, ``cols`` ``(W, m)``."""

    blocks: BlockMotion
    rows: Index
    cols: Index

    @classmethod
    def of(cls, level: Level, blocks: BlockMotion) -> Cover:
        """Cover ``level`` with ``blocks``."""
        count, size = blocks.vectors.shape[1:], blocks.block_size
        return cls(
            blocks,
            _covered(level.height, level.stride, count[0], size),
            _covered(level.width, level.stride, count[1], size),
        )

    def cells(self, marked: Bool | None) -> Bool | None:
        """Cells ``(H, W)`` that lie in any ``marked`` block; None if no block is."""
        if marked is None:
            return None
        return any_of(any_of(marked, self.cols, 1), self.rows, 0)

    def vectors(self, cells: Index) -> Int32:
        """Motion ``(2, n)`` int32 of flat ``cells``.

        A cell wider than a block takes the medoid of its blocks: a vector that really occurs,
        nearest to the others in sum.
        """
        rows, cols = np.divmod(cells.astype(np.int32), np.int32(len(self.cols)))
        blocks = self.rows[rows][:, :, None] * self.blocks.vectors.shape[2]
        blocks = (blocks + self.cols[cols][:, None, :]).reshape(len(cells), -1)
        members = self.blocks.vectors.reshape(2, -1).take(blocks, axis=1).astype(np.int32)
        if members.shape[2] == 1:
            only: Int32 = members[..., 0]
            return only
        apart = np.abs(members[..., :, None] - members[..., None, :])
        medoid = apart.sum(axis=(0, -1)).argmin(axis=-1)
        chosen: Int32 = np.take_along_axis(members, medoid[None, :, None], axis=-1)[..., 0]
        return chosen


def any_of(marked: Bool, members: Index, axis: int) -> Bool:
    """Along ``axis``, whether any of each row of ``members`` ``(n, m)`` is marked."""
    found: Bool = marked.take(members[:, 0], axis=axis)
    for part in range(1, members.shape[1]):
        found |= marked.take(members[:, part], axis=axis)
    return found


@lru_cache(maxsize=_GEOMETRIES)
def _covered(cells: int, stride: int, blocks: int, block_size: int) -> Index:
    """Blocks that each cell of one axis covers ``(cells, n)``, the last one repeated to fill.

    Cells beyond the frame (a padded map has some) take the last block.
    """
    first = np.arange(cells) * stride // block_size
    last = (np.arange(1, cells + 1) * stride - 1) // block_size
    span = np.arange((last - first).max() + 1)
    covered = np.minimum(np.minimum(first[:, None] + span, last[:, None]), blocks - 1)
    covered.flags.writeable = False
    return covered
