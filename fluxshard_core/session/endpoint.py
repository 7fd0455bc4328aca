"""Endpoint: what one side holds of past frames, and what a new frame would cost it.

The robot has one for itself and one for its cloud. The second is an exact copy of what the cloud
knows: its pixels are the proxy, its scheduler draws up what the cloud's executor will do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.accumulation import MotionAccumulator
from fluxshard_core.motion.field import BLOCK_SIZE, MotionField
from fluxshard_core.reuse.classifier import too_fast
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.criterion import PixelReference, composed
from fluxshard_core.reuse.policy import critical_blocks
from fluxshard_core.reuse.remap import Level, LevelMotion
from fluxshard_core.reuse.salience import SalientBlocks
from fluxshard_core.sparse.schedule import BlockScheduler, Schedule

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

FIRST_FRAME = "first frame"
REUSE_OFF = "reuse is off"
COMPUTES_WHOLE = "computed whole in the cloud"
TOO_FAST = "too fast for an object whose class is in doubt"


class Extent(Enum):
    """What of a frame is computed, and from which pixels."""

    CRITICAL = "critical blocks"
    WHOLE = "everything, from the new pixels of critical blocks"
    STREAM = "everything, from new pixels everywhere"


@dataclass(frozen=True, eq=False)
class Proposal:
    """What one frame would have an endpoint do.

    ``motion`` since the endpoint last ran; ``blocks`` ``(rows, cols)`` bool, critical, by level
    key; ``schedule`` what the executor makes of them; ``reference`` its pixels, moved, of which the
    frame replaces the blocks ``pixels`` ``(rows, cols)`` bool: one computed whole may be seen in
    part. ``critical_ratio`` is the compute ratio that ``blocks`` ask for, even if everything is
    computed, 1 where the frame is too fast to do with those. ``first``: the endpoint holds nothing
    yet; ``cut``: the frame shows another scene than the one before it, which the endpoint ran.
    ``ease`` ``(rows, cols)`` float32 in [-1, 2]: how little care the pixels of each block need;
    None, all of it.
    """

    motion: MotionField
    blocks: dict[int, Bool]
    schedule: Schedule
    reference: PixelReference
    pixels: Bool
    critical_ratio: float = 1.0
    first: bool = False
    cut: bool = False
    ease: Float32 | None = None

    @property
    def dense_reason(self) -> str:
        """Why the whole frame is computed; empty where it is not."""
        return self.schedule.dense_reason

    @property
    def important(self) -> Bool:
        """The blocks ``(rows, cols)`` asked for at the finest level, whatever is computed."""
        return self.blocks[min(self.blocks)]

    @property
    def critical(self) -> Bool:
        """The blocks ``(rows, cols)`` computed anew at the finest level."""
        return self.levels[min(self.blocks)]

    @property
    def levels(self) -> dict[int, Bool]:
        """The blocks ``(rows, cols)`` to compute anew, by level key."""
        if not self.dense_reason:
            return self.blocks
        return {key: np.ones_like(blocks) for key, blocks in self.blocks.items()}

    @property
    def whole(self) -> Bool:
        """The blocks ``(rows, cols)`` new at every level and in pixels: nothing of them moves."""
        everywhere: Bool = np.logical_and.reduce([self.pixels, *self.levels.values()])
        return everywhere

    def composed(self, image: UInt8) -> UInt8:
        """Return ``image`` as an endpoint sees it that gets only the blocks ``pixels``."""
        if self.pixels.all():
            return image
        return composed(self.reference.image, image, self.pixels)


@dataclass(frozen=True, eq=False)
class View:
    """What an endpoint holds, seen from the frame whose motion it took in last.

    ``motion`` since it last ran, ``reference`` its pixels and ``moved`` its cells moved by that,
    ``lost`` ``(rows, cols)`` bool the blocks without a source.
    """

    motion: MotionField
    reference: PixelReference
    moved: dict[Level, LevelMotion]
    lost: Bool


class Endpoint:
    """One side's past, for one input size.

    Every frame ``absorb`` its motion and ``propose`` what to do; ``settle`` on the side that ran.
    A proposal that is not settled changes nothing.
    """

    def __init__(self, scheduler: BlockScheduler, keys: tuple[int, ...], size: tuple[int, int]):
        """``keys`` name the network's levels; ``size`` is its input's height and width."""
        self._scheduler = scheduler
        self.keys = keys
        self._size = size
        self._accumulated = MotionAccumulator(*size)
        self.reset()

    def reset(self) -> None:
        """Forget all frames: the next one is computed whole."""
        self._reference: PixelReference | None = None
        self._scheduler.reset()
        self._accumulated.reset()
        self._frames = 0

    def absorb(self, step: MotionField) -> None:
        """Take in the motion since the frame before."""
        self._frames += 1
        if self._reference is not None:
            self._accumulated.absorb(step)

    def propose(
        self,
        image: UInt8,
        salience: SalientBlocks,
        config: ReuseConfig | None,
    ) -> Proposal:
        """Return what ``image`` ``(H, W, 3)`` uint8 makes critical; all, without ``config``."""
        if self._reference is None:
            return self.start(image)
        if config is None:
            return self.whole(image, REUSE_OFF)
        view = self.view()
        assert view is not None
        blocks = critical_blocks(
            image, view.reference, view.lost, view.moved, self.keys, salience, config
        )
        everything = all(level.all() for level in blocks.values())
        proposal = replace(self.proposal(view, blocks), cut=everything and self._frames == 1)
        if not too_fast(salience, config):
            return proposal
        whole = self.extended(proposal, Extent.STREAM, TOO_FAST)
        return replace(whole, critical_ratio=whole.schedule.compute_ratio)

    def extended(
        self, proposal: Proposal, extent: Extent, reason: str = COMPUTES_WHOLE
    ) -> Proposal:
        """Return ``proposal`` with so much computed, for that ``reason``; one that takes all of the
        frame already is returned as it is."""
        if extent is Extent.CRITICAL or proposal.pixels.all():
            return proposal
        stream = extent is Extent.STREAM
        pixels = np.ones_like(proposal.important) if stream else proposal.important
        return replace(proposal, schedule=self._scheduler.dense(reason), pixels=pixels)

    @property
    def empty(self) -> bool:
        """Whether it holds nothing yet."""
        return self._reference is None

    def start(self, image: UInt8) -> Proposal:
        """Return what it takes to begin with ``image`` ``(H, W, 3)``: all of it."""
        return self._whole(FIRST_FRAME, PixelReference(image), first=True)

    def whole(self, image: UInt8, reason: str) -> Proposal:
        """Return what it takes to compute ``image`` ``(H, W, 3)`` whole, for that ``reason``."""
        if self._reference is None:
            return self.start(image)
        return self._whole(reason, self._reference)

    def view(self) -> View | None:
        """Return what is held, moved to the frame absorbed last; None before the first frame."""
        if self._reference is None:
            return None
        motion = self._accumulated.field
        reference, lost = self._reference.moved(motion, self._frames)
        return View(motion, reference, self._scheduler.follow(motion), lost)

    def proposal(self, view: View, blocks: dict[int, Bool]) -> Proposal:
        """Return what it takes to compute ``blocks`` ``(rows, cols)``, by level key, anew."""
        schedule = self._scheduler.after(view.moved, blocks)
        finest = blocks[min(blocks)]
        pixels = np.ones_like(finest) if schedule.dense_reason else finest
        ratio = schedule.compute_ratio
        return Proposal(view.motion, blocks, schedule, view.reference, pixels, ratio)

    def settle(self, proposal: Proposal, seen: UInt8) -> None:
        """Remember that ``proposal`` was run on ``seen``, the frame as this endpoint saw it."""
        self._scheduler.settle(proposal.schedule)
        self._reference = proposal.reference
        self._reference.take(seen, proposal.pixels, proposal.levels)
        self._accumulated.reset()
        self._frames = 0

    def _whole(self, reason: str, reference: PixelReference, *, first: bool = False) -> Proposal:
        height, width = self._size
        everything = np.ones((height // BLOCK_SIZE, width // BLOCK_SIZE), dtype=np.bool_)
        blocks = dict.fromkeys(self.keys, everything)
        motion = MotionField.zero(height, width)
        schedule = self._scheduler.dense(reason)
        return Proposal(motion, blocks, schedule, reference, everything, first=first)
