"""The reuse policy of one endpoint: what each new frame makes critical, from what came before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL, MotionField
from fluxshard_core.reuse.classifier import classify
from fluxshard_core.reuse.completion import completed
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.criterion import PixelReference, block_difference
from fluxshard_core.reuse.remap import FeatureRemap, Level, LevelMotion
from fluxshard_core.reuse.salience import Salience

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

FINEST_WITH_RESIDUAL = 8  # at finer levels nothing lies off by more than two pixels


class ReusePolicy:
    """Everything remembered of past frames, for one size of input.

    For each frame call ``decide``, recompute, then ``settle``; after a failure ``reset``.
    ``strides`` are the levels of the network, cumulative, in pixels a cell.
    """

    def __init__(self, strides: Iterable[int], config: ReuseConfig | None = None) -> None:
        self.config = config or ReuseConfig()
        self._strides = tuple(sorted(strides))
        self._salience = Salience(self.config)
        self.reset()

    def reset(self) -> None:
        """Forget all frames: everything in the next one is critical."""
        self._salience.reset()
        self._reference: PixelReference | None = None
        self._remap = FeatureRemap(())
        self._moved: Mapping[Level, LevelMotion] = {}

    def decide(self, image: UInt8, motion: MotionField) -> tuple[MotionField, dict[int, Bool]]:
        """Return the motion to run with and the critical blocks of every level.

        ``image`` ``(H, W, 3)`` uint8 is the network's input, sides multiples of 32; ``motion`` is
        counted since the last frame decided on. The motion returned has a vector wherever one can
        be guessed; the blocks, ``(rows, cols)`` bool by stride, hold those that refute it.
        """
        if self._reference is None:
            return motion, self._start(image)
        motion = completed(motion)
        self._salience.follow(motion)
        lost = self._reference.follow(motion)
        self._moved = self._remap.follow(motion)
        return motion, classify(
            cost=block_difference(image, self._reference.image),
            salience=self._salience.blocks(*lost.shape),
            lost=lost,
            age=self._reference.age,
            residual=self._residual(lost.shape),
            config=self.config,
        )

    def settle(
        self,
        image: UInt8,
        recomputed: Mapping[Level, Bool],
        boxes: Float32,
        scores: Float32,
        points: Sequence[Float32] | None = None,
    ) -> None:
        """Remember what was recomputed of ``image`` and what was found.

        ``recomputed`` ``(H, W)`` bool cells for every level of the network. ``boxes`` ``(N, 4)``
        ``x1, y1, x2, y2`` in pixels of ``image`` and their ``scores`` ``(N,)``, down to the
        confidence from which the configuration calls them salient; ``points`` as
        :meth:`Salience.update` takes them.
        """
        if self._reference is None:
            self._start(image)
        else:
            finest = min(level for level in recomputed if level.stride in self._strides)
            self._reference.replace(image, _whole_blocks(recomputed[finest], finest.stride))
            self._remap.settle(self._moved, recomputed)
        self._salience.update(boxes, scores, points)

    def _start(self, image: UInt8) -> dict[int, Bool]:
        height, width = image.shape[:2]
        self._reference = PixelReference(image)
        self._remap = FeatureRemap(
            Level(stride, height // stride, width // stride)
            for stride in self._strides
            if stride >= FINEST_WITH_RESIDUAL
        )
        everything = np.ones((height // BLOCK_SIZE, width // BLOCK_SIZE), dtype=np.bool_)
        return dict.fromkeys(self._strides, everything)

    def _residual(self, shape: tuple[int, ...]) -> dict[int, Float32]:
        nothing = np.zeros(shape, dtype=np.float32)
        off = {level.stride: _per_block(moved, shape) for level, moved in self._moved.items()}
        return {stride: off.get(stride, nothing) for stride in self._strides}


def _per_block(moved: LevelMotion, shape: tuple[int, ...]) -> Float32:
    """Pixels that the cached content of each block ``shape`` lies off its place at most."""
    if moved.residual is None:
        return np.zeros(shape, dtype=np.float32)
    off = np.abs(moved.residual).max(axis=0).astype(np.float32) / QUARTER_PEL
    stride = moved.level.stride
    if stride >= BLOCK_SIZE:
        side = stride // BLOCK_SIZE
        spread: Float32 = off.repeat(side, axis=0).repeat(side, axis=1)
        return spread
    side = BLOCK_SIZE // stride
    most: Float32 = off.reshape(shape[0], side, shape[1], side).max(axis=(1, 3))
    return most


def _whole_blocks(cells: Bool, stride: int) -> Bool:
    """Blocks all of whose cells, finer than a block, are marked."""
    side = BLOCK_SIZE // stride
    rows, cols = cells.shape[0] // side, cells.shape[1] // side
    return np.asarray(cells.reshape(rows, side, cols, side).all(axis=(1, 3)))
