"""Where each cached feature cell moves: whole-cell shifts per level, the remainder carried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from fluxshard_core.motion.field import QUARTER_PEL, MotionField
from fluxshard_core.reuse.block_motion import BlockMotion
from fluxshard_core.reuse.compiled_follow import follow_compiled
from fluxshard_core.reuse.level import Bool, Index, Int16, Int32, Level, LevelMotion
from fluxshard_core.reuse.level_draft import LevelDraft
from fluxshard_kernels.cpu.library import load_if_possible

__all__ = ["Bool", "FeatureRemap", "Index", "Int16", "Int32", "Level", "LevelMotion"]


class FeatureRemap:
    """The remainders one endpoint carries from frame to frame, per level.

    ``follow`` says where cached cells move for an accumulated motion and changes nothing; after
    the run ``settle`` stores what is left over. A cell's whole-cell shift is
    ``k = round((M + r) / stride)`` with ``r`` the remainder its content already had, and
    ``r' = M + r - stride * k`` is carried on, all in integer quarter pixels: a slow pan moves a
    coarse level exactly as far as a fine one, only in rarer, larger steps.

    Most cells share one motion and one remainder, and so one shift. It is applied to each level
    as a whole; the cells that it does not bring within half a cell are followed one by one, those
    of all levels together.
    """

    def __init__(self, levels: Iterable[Level]) -> None:
        self._levels = tuple(levels)
        sizes = [level.height * level.width for level in self._levels]
        ends = np.cumsum([0, *sizes]).tolist()
        self._carried = np.zeros((2, ends[-1]), dtype=np.int16)
        self._start = dict(zip(self._levels, ends, strict=False))
        self._in_place = dict.fromkeys(self._levels, True)

    def reset(self) -> None:
        """Forget every remainder: all cached cells are where they belong (a dense or exact run)."""
        if not all(self._in_place.values()):
            self._carried.fill(0)
        self._in_place = dict.fromkeys(self._levels, True)

    def remainder(self, level: Level) -> Int16 | None:
        """Return the remainder carried now, ``(2, H, W)`` quarter pixels ``(dy, dx)``, or None."""
        return None if self._in_place[level] else self._of(level).copy()

    def follow(self, motion: MotionField, threads: int = 1) -> dict[Level, LevelMotion]:
        """Return where each level's cached cells are, ``motion`` counted since the last run.

        ``motion`` covers the frame (:meth:`MotionField.check_image`), as the levels do; they are
        shared by ``threads``.
        """
        blocks = BlockMotion.of(motion)
        if library := load_if_possible():
            carried = {
                level: None if self._in_place[level] else self._of(level) for level in self._levels
            }
            return follow_compiled(library, carried, blocks, threads)
        return self.follow_plainly(blocks)

    def follow_plainly(self, blocks: BlockMotion) -> dict[Level, LevelMotion]:
        """Do what :meth:`follow` does, in numpy alone."""
        drafts = [
            LevelDraft(level, blocks, None if self._in_place[level] else self._of(level))
            for level in self._levels
        ]
        self._follow_singly([draft for draft in drafts if len(draft.singles)])
        return {draft.level: draft.finish() for draft in drafts}

    def settle(self, moved: Mapping[Level, LevelMotion], recomputed: Mapping[Level, Bool]) -> None:
        """Store the remainders of a run that moved the caches by ``moved``.

        ``recomputed`` ``(H, W)`` per level: cells now computed in place in *every* cached map of
        the level, whose remainder is zero; a level it lacks had none. A map fresh where others are
        not keeps their remainder and so stays within one cell of its place; forgetting a
        remainder that some map still has would let that map drift without bound.
        """
        for level, motion in moved.items():
            carried = self._of(level)
            if motion.residual is not None:
                self._in_place[level] = not keep(carried, motion.residual, recomputed.get(level))
            elif not self._in_place[level]:
                carried.fill(0)
                self._in_place[level] = True

    def _of(self, level: Level) -> Int16:
        start = self._start[level]
        return self._carried[:, start : start + level.height * level.width].reshape(2, *level.shape)

    def _follow_singly(self, drafts: list[LevelDraft]) -> None:
        if not drafts:
            return
        counts = [len(draft.singles) for draft in drafts]
        constants = np.array(
            [
                (draft.level.stride * QUARTER_PEL, *draft.level.shape, self._start[draft.level])
                for draft in drafts
            ],
            dtype=np.int32,
        )
        shift, left, valid = _nearest_sources(
            np.concatenate([draft.single_vectors() for draft in drafts], axis=1),
            np.concatenate([draft.singles for draft in drafts]).astype(np.int32),
            np.repeat(constants.T, counts, axis=1),
            self._carried,
        )
        ends = np.cumsum(counts).tolist()
        for draft, start, end in zip(drafts, [0, *ends], ends, strict=False):
            draft.place_singles(shift[:, start:end], left[:, start:end], valid[start:end])


def keep(carried: Int16, residual: Int16, fresh: Bool | None) -> bool:
    """Write ``residual`` ``(2, H, W)`` into ``carried``, zero at the cells ``fresh`` ``(H, W)``, if
    there are any; return whether something is left."""
    if library := load_if_possible():
        cells = None if fresh is None else np.ascontiguousarray(fresh)
        return library.keep(np.ascontiguousarray(residual), cells, carried[0], carried[1])
    return keep_plainly(carried, residual, fresh)


def keep_plainly(carried: Int16, residual: Int16, fresh: Bool | None) -> bool:
    """Do what :func:`keep` does, in numpy."""
    carried[...] = residual
    if fresh is not None:
        np.copyto(carried, np.int16(0), where=fresh)
    return bool(carried.any())


def _nearest_sources(
    vectors: Int32, cells: Int32, constants: Int32, carried: Int16
) -> tuple[Int32, Int32, Bool]:
    """Whole cells nearest to ``vectors`` ``(2, n)`` plus what the content of flat ``cells`` had
    ``carried`` (by source cell), halves towards plus infinity; what is left over; and where that
    is a cell of the level within half a cell.

    ``constants`` ``(4, n)``: quarter pixels a cell, rows and columns of its level, and where the
    level starts in ``carried``. Which remainder applies depends on the source and the source on
    the remainder; the two agree at once wherever ``carried`` is locally constant. Where they do
    not, the nearest of three candidate sources is taken.
    """
    cell, height, width, start = constants
    half = cell >> 1
    rows = cells // width
    cols = cells - rows * width

    def remainder(shift: Int32, at: slice | Index = slice(None)) -> Int32:
        row = np.minimum(np.maximum(rows[at] - shift[0], 0), height[at] - 1)
        col = np.minimum(np.maximum(cols[at] - shift[1], 0), width[at] - 1)
        source = row * width[at] + col + start[at]
        found = np.empty((2, len(source)), dtype=np.int32)
        found[0], found[1] = carried[0].take(source), carried[1].take(source)
        return found

    plain = (vectors + half) // cell
    shift = (vectors + remainder(plain) + half) // cell
    found = remainder(shift)
    left = vectors + found - shift * cell
    torn = np.flatnonzero((np.abs(left) > half).any(axis=0))
    if torn.size:
        again = (vectors[:, torn] + found[:, torn] + half[torn]) // cell[torn]
        for candidate in (plain[:, torn], again):
            other = vectors[:, torn] + remainder(candidate, torn) - candidate * cell[torn]
            nearer = np.abs(other).max(axis=0) < np.abs(left[:, torn]).max(axis=0)
            shift[:, torn] = np.where(nearer, candidate, shift[:, torn])
            left[:, torn] = np.where(nearer, other, left[:, torn])
    source_rows, source_cols = rows - shift[0], cols - shift[1]
    valid = (source_rows >= 0) & (source_rows < height)
    valid &= (source_cols >= 0) & (source_cols < width)
    valid &= (np.abs(left) <= half).all(axis=0)
    return shift, np.minimum(np.maximum(left, -cell), cell), valid
