"""What the executor benchmark recomputes and how its scene moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import QUARTER_PEL, MotionField, block_grid

Bool = npt.NDArray[np.bool_]
LayoutName = Literal["clustered", "scattered"]

PAN_PIXELS = 6
PATCH_PIXELS = 4
_CLUSTERS = 2


@dataclass(frozen=True)
class BenchScene:
    """A camera that pans right over a scene in which two patches also move up and down.

    The pan shifts every level by whole cells now and then, and the patches are copied on their
    own. What the motion uncovers (the left column, a ring of one block around each patch) is part
    of the active blocks; the rest of them is two squares (``clustered``) or single blocks
    (``scattered``) at random places.
    """

    height: int
    width: int
    seed: int = 0

    @property
    def _grid(self) -> tuple[int, int]:
        return block_grid(self.height, self.width)

    def _patches(self) -> list[tuple[slice, slice]]:
        rows, cols = self._grid
        side = max(1, min(rows, cols) // 16)
        corners = (rows // 4, cols // 5), (rows // 2, cols // 2)
        return [(slice(row, row + side), slice(col, col + side)) for row, col in corners]

    def motion(self, frame: int) -> MotionField:
        """Return the motion of ``frame`` since the one before."""
        vectors = np.zeros((*self._grid, 2), dtype=np.int16)
        vectors[..., 0] = PAN_PIXELS * QUARTER_PEL
        sign = 1 if frame % 2 else -1
        for patch in self._patches():
            vectors[(*patch, 1)] = sign * PATCH_PIXELS * QUARTER_PEL
        return MotionField(vectors, np.ones(self._grid, dtype=np.bool_))

    def blocks(self, active: float, layout: LayoutName) -> Bool:
        """Return the active blocks, a share ``active`` of all.

        :raises InputError: if the share is not in (0, 1] or less than the motion uncovers.
        """
        if not 0.0 < active <= 1.0:
            raise InputError(f"active share is {active}; it must be in (0, 1]")
        blocks = np.zeros(self._grid, dtype=np.bool_)
        blocks[:, 0] = True
        for rows, cols in self._patches():
            blocks[rows.start - 1 : rows.stop + 1, cols.start - 1 : cols.stop + 1] = True
            blocks[rows, cols] = False
        wanted = round(active * blocks.size)
        missing = wanted - int(blocks.sum())
        if missing < 0:
            raise InputError(
                f"the scene's motion alone uncovers {blocks.mean():.1%} of the blocks; "
                f"an active share of {active:.1%} is too small for this size"
            )
        rng = np.random.default_rng(self.seed)
        if layout == "clustered":
            _add_squares(blocks, missing, rng)
        free = np.flatnonzero(~blocks)
        if layout == "clustered":  # grow what is there instead of sprinkling
            free = free[np.argsort(_distance(blocks)[np.unravel_index(free, blocks.shape)])]
        else:
            rng.shuffle(free)
        blocks.reshape(-1)[free[: max(0, wanted - int(blocks.sum()))]] = True
        return blocks


def _add_squares(blocks: Bool, missing: int, rng: np.random.Generator) -> None:
    rows, cols = blocks.shape
    for _ in range(_CLUSTERS):
        side = int((missing / _CLUSTERS) ** 0.5)
        height = max(1, min(rows, side))
        width = max(1, min(cols, missing // _CLUSTERS // height))
        row = int(rng.integers(0, rows - height + 1))
        col = int(rng.integers(0, cols - width + 1))
        blocks[row : row + height, col : col + width] = True


def _distance(blocks: Bool) -> npt.NDArray[np.int64]:
    """Steps from each block to the nearest active one, by repeated growth."""
    distance = np.where(blocks, 0, blocks.size).astype(np.int64)
    for _ in range(sum(blocks.shape)):
        for axis in (0, 1):
            for step in (1, -1):
                near = np.roll(distance, step, axis) + 1
                edge = [slice(None), slice(None)]
                edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
                near[tuple(edge)] = blocks.size
                np.minimum(distance, near, out=distance)
    return distance
