"""LevelDraft: one level moved by the shift most of it shares, and the cells that this leaves."""

from __future__ import annotations

import numpy as np

from fluxshard_core.motion.field import QUARTER_PEL
from fluxshard_core.reuse.block_motion import BlockMotion, Cover, most_frequent
from fluxshard_core.reuse.level import Bool, Index, Int16, Int32, Level, LevelMotion

_SAMPLE = 32  # cells a side that are looked at for the most frequent remainder

_Area = tuple[slice, slice]


class LevelDraft:
    """A :class:`LevelMotion` in the making.

    ``singles``: flat cells that the common shift does not serve, because their block moves
    otherwise or because it would leave their content further than half a cell away.
    """

    def __init__(self, level: Level, blocks: BlockMotion, carried: Int16 | None) -> None:
        """Move all of ``level``; ``carried`` ``(2, H, W)`` is None where zero everywhere."""
        self.level = level
        self._cover = Cover.of(level, blocks)
        self._common = common_shift(level, blocks.common, carried)
        self._shift = np.empty((2, *level.shape), dtype=np.int16)
        self._residual = np.zeros_like(self._shift)
        self._valid = np.zeros(level.shape, dtype=np.bool_)
        kept, source = _overlap(level, self._common)
        self._valid[kept] = True
        single = self._cover.cells(blocks.apart)
        for axis in (0, 1):
            self._shift[axis] = self._common[axis]
            residual = self._residual[axis]
            left = np.int16(blocks.common[axis] - self._common[axis] * level.stride * QUARTER_PEL)
            if carried is not None:
                np.add(carried[axis][source], left, out=residual[kept])
                _extend(residual, kept)
                torn = _beyond_half_a_cell(residual, level)
                single = torn if single is None else single | torn
            elif left:
                residual[...] = left
        unknown = self._cover.cells(blocks.unknown)
        if unknown is not None:
            self._valid[unknown] = False
            self._residual[:, unknown] = 0
            single = None if single is None else single & ~unknown
        self.singles: Index = np.flatnonzero(False if single is None else single)

    def single_vectors(self) -> Int32:
        """Return the motion ``(2, n)`` of the singles in quarter pixels."""
        return self._cover.vectors(self.singles)

    def place_singles(self, shift: Int32, residual: Int32, valid: Bool) -> None:
        """Take in the motion of the singles: ``(2, n)``, ``(2, n)`` and ``(n,)``."""
        self._valid.reshape(-1)[self.singles] = valid
        for axis in (0, 1):
            self._shift[axis].reshape(-1)[self.singles] = shift[axis]
            self._residual[axis].reshape(-1)[self.singles] = residual[axis]

    def finish(self) -> LevelMotion:
        """Return the level's motion."""
        residual = self._residual if self._residual.any() else None
        return LevelMotion(self.level, self._shift, self._valid, residual, self._common)


def common_shift(level: Level, vector: tuple[int, int], carried: Int16 | None) -> tuple[int, int]:
    """Return the whole cells that content with the most frequent remainder moves by.

    The remainder is that of a sample of the cells: one shared by most of the level is shared by
    most of any regular sample, and a wrong guess costs time, never correctness.
    """
    cell = level.stride * QUARTER_PEL
    dy, dx = 0, 0
    if carried is not None:
        step = [max(1, size // _SAMPLE) for size in level.shape]
        sample = carried[:, step[0] // 2 :: step[0], step[1] // 2 :: step[1]].astype(np.int32)
        dy, dx = most_frequent(sample[0].reshape(-1), sample[1].reshape(-1))
    return (vector[0] + dy + cell // 2) // cell, (vector[1] + dx + cell // 2) // cell


def _overlap(level: Level, shift: tuple[int, int]) -> tuple[_Area, _Area]:
    """Cells whose source ``c - shift`` is in the level, and those sources."""
    kept, source = [], []
    for size, step in zip(level.shape, shift, strict=True):
        first, last = max(0, step), min(size, size + step)
        if first >= last:
            first = last = step = 0
        kept.append(slice(first, last))
        source.append(slice(first - step, last - step))
    return (kept[0], kept[1]), (source[0], source[1])


def _extend(values: Int16, known: _Area) -> None:
    """Repeat the outermost of the ``known`` values of ``(H, W)`` up to the edges."""
    (top, bottom), (left, right) = ((area.start, area.stop) for area in known)
    if top < bottom and left < right:
        values[top:bottom, :left] = values[top:bottom, left : left + 1]
        values[top:bottom, right:] = values[top:bottom, right - 1 : right]
        values[:top] = values[top]
        values[bottom:] = values[bottom - 1]


def _beyond_half_a_cell(residual: Int16, level: Level) -> Bool:
    """Where ``residual`` ``(H, W)`` is not in ``[-half, half)``."""
    cell = level.stride * QUARTER_PEL
    # One unsigned comparison checks both ends: a negative number wraps to a huge one.
    beyond: Bool = (residual + np.int16(cell // 2)).view(np.uint16) >= np.uint16(cell)
    return beyond
