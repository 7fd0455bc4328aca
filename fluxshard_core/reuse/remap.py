"""Where each cached feature cell moves: whole-cell shifts per level, the remainder carried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import QUARTER_PEL, MotionField

Bool = npt.NDArray[np.bool_]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Index = npt.NDArray[np.intp]
_Scalar = TypeVar("_Scalar", bound=np.generic)


@dataclass(frozen=True, order=True)
class Level:
    """All feature maps of one cumulative ``stride`` (pixels a cell) and ``height x width`` cells.

    Cell ``(i, j)`` stands for the pixels ``[i*stride, (i+1)*stride)`` by the same in ``j``.
    """

    stride: int
    height: int
    width: int

    def __post_init__(self) -> None:
        """Refuse an empty level."""
        if min(self.stride, self.height, self.width) <= 0:
            raise InputError(f"{self}: stride, height and width must be positive")

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in cells."""
        return self.height, self.width


@dataclass(frozen=True, eq=False)
class LevelMotion:
    """Which cached cell each cell of a level comes from: cell ``c`` holds cached ``c - shift[c]``.

    A backward lookup: every cell has one source, so nothing can collide. ``shift`` ``(2, H, W)``
    int16, whole cells, ``(dy, dx)``; ``valid`` ``(H, W)`` bool, False where no cached cell is the
    source (it lies outside the frame, the motion is unknown, or none is within half a cell);
    ``residual`` ``(2, H, W)`` int16 quarter pixels ``(dy, dx)`` still missing after the shift, at
    most half a cell where valid, or ``None`` when zero everywhere; ``common`` the shift most cells
    share. Where the motion is unknown ``shift`` is ``common``. Arrays are read-only.
    """

    level: Level
    shift: Int16
    valid: Bool
    residual: Int16 | None
    common: tuple[int, int]

    @cached_property
    def uniform(self) -> bool:
        """Whether every cell moves by ``common``."""
        rows, cols = self.shift
        return bool((rows == self.common[0]).all() and (cols == self.common[1]).all())

    @cached_property
    def source_rows(self) -> Int16:
        """Row of each cell's source ``(H, W)``, clamped into the frame where it is outside."""
        rows = np.arange(self.level.height, dtype=np.int16)[:, None]
        clamped: Int16 = np.clip(rows - self.shift[0], 0, self.level.height - 1)
        return clamped

    @cached_property
    def source_cols(self) -> Int16:
        """Column of each cell's source ``(H, W)``, clamped into the frame where it is outside."""
        cols = np.arange(self.level.width, dtype=np.int16)
        clamped: Int16 = np.clip(cols - self.shift[1], 0, self.level.width - 1)
        return clamped

    @cached_property
    def source(self) -> Int32:
        """Flat index of each cell's source ``(H, W)``, clamped as ``source_rows``."""
        flat = self.source_rows.astype(np.int32)
        flat *= self.level.width
        flat += self.source_cols
        return flat

    def exceptions(self, kept: Bool) -> tuple[Index, Int32]:
        """Return flat ``(destination, source)`` cells that moving by ``common`` does not serve.

        ``kept`` ``(H, W)`` marks the cells whose cached value will be read. Moving the origin of
        the cache by ``common`` puts every other kept cell in place without a copy; these must be
        read from the old map, all of them, before any is written.
        """
        if self.uniform:
            none = np.zeros(0, dtype=np.intp)
            return none, none.astype(np.int32)
        dy, dx = self.shift
        moved = (dy != self.common[0]) | (dx != self.common[1])
        moved &= kept
        destination = np.flatnonzero(moved)
        height, width = self.level.shape
        rows, cols = np.divmod(destination, width)
        rows = np.clip(rows - dy.reshape(-1)[destination], 0, height - 1)
        cols = np.clip(cols - dx.reshape(-1)[destination], 0, width - 1)
        return destination, (rows * width + cols).astype(np.int32)


class FeatureRemap:
    """The remainders one endpoint carries from frame to frame, per level.

    ``follow`` says where cached cells move for an accumulated motion and changes nothing; after
    the run ``settle`` stores what is left over. A cell's whole-cell shift is
    ``k = round((M + r) / stride)`` with ``r`` the remainder its content already had, and
    ``r' = M + r - stride * k`` is carried on, all in integer quarter pixels: a slow pan moves a
    coarse level exactly as far as a fine one, only in rarer, larger steps.
    """

    def __init__(self, levels: Iterable[Level]) -> None:
        self._residual: dict[Level, Int16 | None] = dict.fromkeys(levels)

    def reset(self) -> None:
        """Forget every remainder: all cached cells are where they belong (a dense or exact run)."""
        for level in self._residual:
            self._residual[level] = None

    def follow(self, motion: MotionField) -> dict[Level, LevelMotion]:
        """Return where each level's cached cells are, ``motion`` counted since the last run.

        ``motion`` covers the frame (:meth:`MotionField.check_image`), as the levels do.
        """
        return {level: self._follow_level(level, motion) for level in self._residual}

    def settle(self, moved: Mapping[Level, LevelMotion], recomputed: Mapping[Level, Bool]) -> None:
        """Store the remainders of a run that moved the caches by ``moved``.

        ``recomputed`` ``(H, W)`` per level: cells now computed in place in *every* cached map of
        the level, whose remainder is zero; a level it lacks had none. A map fresh where others are
        not keeps their remainder and so stays within one cell of its place; forgetting a
        remainder that some map still has would let that map drift without bound.
        """
        for level, motion in moved.items():
            left = motion.residual
            if left is not None and level in recomputed:
                left = np.where(recomputed[level], np.int16(0), left)
            if left is not None and not left.any():
                left = None
            self._residual[level] = left

    def _follow_level(self, level: Level, motion: MotionField) -> LevelMotion:
        cover = _Cover.of(level, motion)
        carried = self._residual[level]
        if carried is None:
            shift, residual = _split(cover.vectors, level.stride)
            shift = cover.per_cell(shift)
            residual = cover.per_cell(residual) if residual.any() else residual
        else:
            shift, residual = _split_carried(cover.per_cell(cover.vectors), carried, level)
        known = cover.per_cell(cover.known)
        common = _most_frequent(shift, known)
        if not cover.known.all():
            shift = np.where(known, shift, _column(common))
            residual = np.where(known, residual, np.int16(0)) if residual.any() else residual
        valid: Bool = known & _in_frame(shift, level)
        if not residual.any():
            return LevelMotion(level, shift, valid, None, common)
        limit = level.stride * QUARTER_PEL // 2
        valid &= (np.abs(residual[0]) <= limit) & (np.abs(residual[1]) <= limit)
        residual = np.clip(residual, -2 * limit, 2 * limit)
        return LevelMotion(level, shift, valid, residual, common)


@dataclass(frozen=True, eq=False)
class _Cover:
    """Motion of a level at the coarsest grid that describes it, and how to spread it over cells.

    ``vectors`` ``(2, h, w)`` int16 quarter pixels ``(dy, dx)``; ``known`` ``(h, w)``; cell
    ``(i, j)`` is described by ``(rows[i], cols[j])``.
    """

    vectors: Int16
    known: Bool
    rows: Index
    cols: Index

    @classmethod
    def of(cls, level: Level, motion: MotionField) -> _Cover:
        """Keep the blocks themselves, or merge those that one cell covers.

        A cell wider than a block takes the medoid of its blocks (a vector that really occurs,
        nearest to the others in sum) and is known only if all of them are.
        """
        rows = _covered(level.height, level.stride, motion.rows, motion.block_size)
        cols = _covered(level.width, level.stride, motion.cols, motion.block_size)
        planes = np.ascontiguousarray(motion.vectors[..., ::-1].transpose(2, 0, 1))
        if rows.shape[1] == cols.shape[1] == 1:
            return cls(planes, motion.valid, rows[:, 0], cols[:, 0])
        blocks = rows[:, None, :, None], cols[None, :, None, :]
        known: Bool = np.all(motion.valid[blocks], axis=(2, 3))
        members = planes[:, blocks[0], blocks[1]].reshape(2, *level.shape, -1)
        apart = np.abs(members[..., :, None].astype(np.int32) - members[..., None, :])
        medoid = apart.sum(axis=(0, -1)).argmin(axis=-1)
        vectors = np.take_along_axis(members, medoid[None, ..., None], axis=-1)[..., 0]
        return cls(vectors, known, np.arange(level.height), np.arange(level.width))

    def per_cell(self, values: npt.NDArray[_Scalar]) -> npt.NDArray[_Scalar]:
        """Spread ``(..., h, w)`` over the cells: ``(..., H, W)``."""
        return values.take(self.cols, axis=-1).take(self.rows, axis=-2)


def _covered(cells: int, stride: int, blocks: int, block_size: int) -> Index:
    """Blocks that each cell of one axis covers ``(cells, n)``, the last one repeated to fill.

    Cells beyond the frame (a padded map has some) take the last block.
    """
    first = np.arange(cells) * stride // block_size
    last = (np.arange(1, cells + 1) * stride - 1) // block_size
    span = np.arange((last - first).max() + 1)
    return np.minimum(np.minimum(first[:, None] + span, last[:, None]), blocks - 1)


def _split(vectors: Int16, stride: int) -> tuple[Int16, Int16]:
    """Whole cells nearest to ``vectors`` (halves towards plus infinity) and what is left over."""
    cell = stride * QUARTER_PEL
    wide = vectors.astype(np.int32)
    shift = (wide + cell // 2) // cell
    return shift.astype(np.int16), (wide - shift * cell).astype(np.int16)


def _split_carried(vectors: Int16, carried: Int16, level: Level) -> tuple[Int16, Int16]:
    """As :func:`_split`, each cell's content having ``carried`` (by source cell) to catch up.

    Which remainder applies depends on the source and the source on the remainder; the two agree
    at once wherever ``carried`` is locally constant. Where they do not, the nearest of three
    candidate sources is taken.
    """
    cell = level.stride * QUARTER_PEL
    rows, cols = (axis.reshape(-1) for axis in np.indices(level.shape, dtype=np.int32))
    height, width = level.shape

    def carried_from(shift: Int32, at: slice | Index = slice(None)) -> Int32:
        flat = np.clip(rows[at] - shift[0], 0, height - 1) * width
        flat += np.clip(cols[at] - shift[1], 0, width - 1)
        found = np.empty((2, len(flat)), dtype=np.int32)
        found[0], found[1] = (plane.take(flat) for plane in carried)
        return found

    wide = vectors.reshape(2, -1).astype(np.int32)
    plain = (wide + cell // 2) // cell
    shift = (wide + carried_from(plain) + cell // 2) // cell
    found = carried_from(shift)
    left = wide + found - shift * cell
    torn = np.flatnonzero((np.abs(left[0]) > cell // 2) | (np.abs(left[1]) > cell // 2))
    if torn.size:
        again = (wide[:, torn] + found[:, torn] + cell // 2) // cell
        for candidate in (plain[:, torn], again):
            other = wide[:, torn] + carried_from(candidate, torn) - candidate * cell
            nearer = np.abs(other).max(axis=0) < np.abs(left[:, torn]).max(axis=0)
            shift[:, torn] = np.where(nearer, candidate, shift[:, torn])
            left[:, torn] = np.where(nearer, other, left[:, torn])
    return (
        shift.reshape(2, height, width).astype(np.int16),
        left.reshape(2, height, width).astype(np.int16),
    )


def _most_frequent(shift: Int16, known: Bool) -> tuple[int, int]:
    """The most frequent shift ``(dy, dx)`` of a sample of the known cells; still if there is none.

    At most about 64 x 64 cells are looked at: a shift shared by most of the frame is shared by
    most of any regular sample, and a wrong guess costs copies, never correctness.
    """
    step = tuple(max(1, size // 64) for size in known.shape)
    sample = shift[:, step[0] // 2 :: step[0], step[1] // 2 :: step[1]]
    chosen = sample[:, known[step[0] // 2 :: step[0], step[1] // 2 :: step[1]]].astype(np.int32)
    if chosen.size == 0:
        return 0, 0
    values, counts = np.unique((chosen[0] << 16) + chosen[1] + 2**15, return_counts=True)
    packed = int(values[counts.argmax()])
    return packed >> 16, (packed & 0xFFFF) - 2**15


def _in_frame(shift: Int16, level: Level) -> Bool:
    """Where ``c - shift[c]`` is a cell of the level."""
    rows = np.arange(level.height, dtype=np.int16)[:, None] - shift[0]
    cols = np.arange(level.width, dtype=np.int16) - shift[1]
    # One unsigned comparison checks both ends: a negative index wraps to a huge one.
    inside: Bool = (rows.view(np.uint16) < level.height) & (cols.view(np.uint16) < level.width)
    return inside


def _column(shift: tuple[int, int]) -> Int16:
    return np.array(shift, dtype=np.int16)[:, None, None]
