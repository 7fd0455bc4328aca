"""The cells of all levels followed by compiled code, in one call."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fluxshard_core.motion.field import QUARTER_PEL
from fluxshard_core.reuse.block_motion import BlockMotion, Cover
from fluxshard_core.reuse.level import Int16, Level, LevelMotion
from fluxshard_kernels.cpu.library import Library, Records
from fluxshard_kernels.cpu.records import BLOCKS, FOLLOWED


def follow_compiled(
    library: Library, carried: Mapping[Level, Int16 | None], blocks: BlockMotion, threads: int
) -> dict[Level, LevelMotion]:
    """Do what :class:`LevelDraft` does for every level of ``carried``: what its cells carry,
    ``(2, H, W)`` int16, its halves contiguous, or None where all is in place."""
    grid, unknown = blocks.vectors.shape[1:], blocks.unknown
    known = np.ones(grid, dtype=np.bool_) if unknown is None else ~unknown
    drafts = [_Draft(level, Cover.of(level, blocks)) for level in carried]
    records: Records = np.array(
        [draft.record(rest) for draft, rest in zip(drafts, carried.values(), strict=True)],
        dtype=FOLLOWED,
    )
    frame = (blocks.vectors.ctypes.data, known.ctypes.data, *grid, blocks.common)
    library.follow(np.array([frame], dtype=BLOCKS), records, threads)
    return {
        draft.level: draft.finish(step, remains=remains)
        for draft, step, remains in zip(
            drafts, records["step"].tolist(), records["remains"].tolist(), strict=True
        )
    }


class _Draft:
    """One level's motion, to be filled in."""

    def __init__(self, level: Level, cover: Cover) -> None:
        self.level, self._cover = level, cover
        self._shift: Int16 = np.empty((2, *level.shape), dtype=np.int16)
        self._residual = np.empty_like(self._shift)
        self._valid = np.empty(level.shape, dtype=np.bool_)

    def record(self, carried: Int16 | None) -> tuple[object, ...]:
        rows, cols = self._cover.rows, self._cover.cols
        halves = (0, 0) if carried is None else tuple(half.ctypes.data for half in carried)
        return (
            (self.level.stride * QUARTER_PEL, *self.level.shape),
            carried is None,
            (0, 0),
            (rows.ctypes.data, cols.ctypes.data, rows.shape[1], cols.shape[1]),
            halves,
            *(array.ctypes.data for array in (self._shift, self._residual, self._valid)),
            False,
        )

    def finish(self, step: list[int], *, remains: int) -> LevelMotion:
        residual = self._residual if remains else None
        return LevelMotion(self.level, self._shift, self._valid, residual, (step[0], step[1]))
