"""FreshnessUpdater: which blocks an idle endpoint should bring up to date next, in small pieces."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE
from fluxshard_core.reuse.level_keys import is_trunk, stride_of

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

PIECE_BLOCKS = 16
SALIENT_FRAMES = 8.0  # frames of age that a block on a sure object counts for
COST_FRAMES = 100.0  # frames of age that a wholly changed block counts for


def staleness(age: Int32, cost: Float32, confidence: Float32) -> Float32:
    """Return how much each block ``(rows, cols)`` asks to be refreshed, in frames of age.

    ``age`` frames since it was recomputed, ``cost`` its difference from the moved reference in
    [0, 1], ``confidence`` of the surest object near it, as :class:`SalientBlocks` has it. A block
    that is new asks for nothing, one on an object for more than its age.
    """
    wish = age.astype(np.float32) + COST_FRAMES * cost + SALIENT_FRAMES * confidence
    asked: Float32 = np.where(age > 0, wish, np.float32(0)).astype(np.float32)
    return asked


class FreshnessUpdater:
    """Pieces of background work, most urgent first: a generator that may be dropped at any time.

    A piece is aligned to the cells of the coarsest level, so that none of its work is done twice.
    It must be settled like a frame before the next is taken. Between two pieces, and between the
    operators of one, a new frame may preempt: the generator is dropped, a piece that did not end
    counts for nothing, and the next frame's wishes start anew.
    """

    def __init__(self, keys: tuple[int, ...], *, piece_blocks: int = PIECE_BLOCKS) -> None:
        """``keys`` name the network's levels; a piece has at most about ``piece_blocks`` blocks."""
        coarsest = max((stride_of(key) for key in keys if is_trunk(key)), default=0)
        if not coarsest or piece_blocks < 1:
            raise InputError(f"levels {keys} or pieces of {piece_blocks} blocks leave no work")
        self._keys = keys
        self._side = max(1, coarsest // BLOCK_SIZE)
        self._cells = max(1, piece_blocks // self._side**2)

    def pieces(self, wish: Float32) -> Iterator[dict[int, Bool]]:
        """Yield critical blocks ``(rows, cols)`` by level key, until nothing is left to wish for.

        ``wish`` ``(rows, cols)`` as :func:`staleness` gives it, for the frame the caches hold.
        """
        rows, cols = wish.shape
        height, width = -(-rows // self._side), -(-cols // self._side)
        padded = np.zeros((height * self._side, width * self._side), dtype=np.float32)
        padded[:rows, :cols] = wish
        shape = height, self._side, width, self._side
        urgency = padded.reshape(shape).sum(axis=(1, 3)).reshape(-1)
        order = np.argsort(-urgency, kind="stable")
        order = order[urgency[order] > 0]
        for start in range(0, len(order), self._cells):
            chosen = np.zeros(height * width, dtype=np.bool_)
            chosen[order[start : start + self._cells]] = True
            cells = chosen.reshape(height, width)
            blocks = cells.repeat(self._side, axis=0).repeat(self._side, axis=1)
            yield dict.fromkeys(self._keys, np.ascontiguousarray(blocks[:rows, :cols]))
