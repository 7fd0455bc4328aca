"""Level and LevelMotion: the cells of one stride, and which cached cell each of them comes from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError

Bool = npt.NDArray[np.bool_]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Index = npt.NDArray[np.intp]


@dataclass(frozen=True, order=True)
class Level:
    """All feature maps of one cumulative ``stride`` (pixels a cell) and ``height x width`` cells.

    ``branch`` names the head or shape branch they belong to (``level_keys.py``), 0 is the trunk.
    Cell ``(i, j)`` stands for the pixels ``[i*stride, (i+1)*stride)`` by the same in ``j``.
    """

    stride: int
    height: int
    width: int
    branch: int = 0

    def __post_init__(self) -> None:
        """Refuse an empty level."""
        if min(self.stride, self.height, self.width) <= 0:
            raise InputError(f"{self}: stride, height and width must be positive")

    @cached_property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in cells."""
        return self.height, self.width

    @property
    def key(self) -> int:
        """What sets of critical blocks name it by: its branch, in the trunk its stride."""
        return self.branch or self.stride

    @cached_property
    def _hash(self) -> int:
        return hash((self.stride, self.height, self.width, self.branch))

    def __hash__(self) -> int:
        """Levels are keys everywhere: computed once."""
        return self._hash


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
    def strays(self) -> Index:
        """The flat cells whose shift is not ``common``, in order."""
        dy, dx = self.shift
        return np.flatnonzero((dy != self.common[0]) | (dx != self.common[1]))

    @property
    def uniform(self) -> bool:
        """Whether every cell moves by ``common``."""
        return not len(self.strays)

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
        destination = self.strays
        destination = destination[kept.reshape(-1)[destination]]
        height, width = self.level.shape
        rows, cols = np.divmod(destination, width)
        dy, dx = self.shift.reshape(2, -1)[:, destination]
        rows = np.clip(rows - dy, 0, height - 1)
        cols = np.clip(cols - dx, 0, width - 1)
        return destination, (rows * width + cols).astype(np.int32)
