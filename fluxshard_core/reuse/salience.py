"""Where the objects of past results are now, and how sure one may be that they matter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.motion.field import BLOCK_SIZE, QUARTER_PEL, MotionField
from fluxshard_core.reuse.config import ReuseConfig

Float32 = npt.NDArray[np.float32]
Bool = npt.NDArray[np.bool_]
Area = tuple[slice, slice]
"""Rows and columns of blocks."""
SPACING = 8  # pixels: half a block
SAME_OBJECT_IOU = 0.5


@dataclass(frozen=True, eq=False)
class SalientRegion:
    """Where one object is: the blocks ``(rows, cols)`` bool that it covers, those ``near`` it, and
    those that its ``shape`` may reach: in a fast scene limbs are not where the motion put them.

    ``extent`` is the root of its box's area in pixels, ``trust`` as in :class:`SalientObject`;
    ``slipped``: it no longer has the shape that it had, or it or the scene moves too fast
    to tell.
    """

    near: Bool
    covered: Bool
    shape: Bool
    extent: float
    trust: float
    slipped: bool = False


@dataclass(frozen=True, eq=False)
class SalientBlocks:
    """What objects ask of each block, ``(rows, cols)`` float32.

    ``confidence`` is the highest of the objects near it that are due, 0 if none; ``size`` the
    shorter side in pixels of the smallest of them, infinite if none; ``ease`` in [0, 1] how little
    care the one needing most of it asks for, 1 if none. ``regions`` are those objects one by one.
    ``motion`` is how far the scene moved since the frame before, in pixels, ``contest`` in [0, 1]
    how near the class of a large object is to turning.
    """

    confidence: Float32
    size: Float32
    ease: Float32
    regions: tuple[SalientRegion, ...] = ()
    motion: float = 0.0
    contest: float = 0.0


@dataclass(frozen=True, eq=False)
class SalientObject:
    """A past result.

    ``box`` ``(4,)`` float32 ``x1, y1, x2, y2`` is in pixels of the network's input. ``trust`` is
    the confidence that it has, or once had and has been losing since; ``steady`` the confidence it
    has been holding: it falls at once and recovers by halves, 0 where the object was not found, or
    not where the motion had put it.
    ``unseen`` counts the frames since it was last found, ``stale`` those since its surroundings
    were last due. ``slip`` adds up how far (1 - IoU) it was found from where the motion had put it,
    since its shape was last due. ``pace`` is how far the motion last moved it, in pixels.
    """

    box: Float32
    trust: float
    steady: float = 0.0
    unseen: int = 0
    stale: int = 0
    slip: float = 1.0
    pace: float = 0.0

    @property
    def size(self) -> float:
        """The shorter side in pixels."""
        return float(min(self.box[2:] - self.box[:2]))

    @property
    def extent(self) -> float:
        """The root of the box's area in pixels."""
        return float(np.sqrt(np.prod(np.maximum(self.box[2:] - self.box[:2], 0))))


class Salience:
    """Past results that follow the motion and outlive a few frames without a result."""

    def __init__(self, config: ReuseConfig) -> None:
        self.config = config
        self.reset()

    def reset(self) -> None:
        """Forget all objects."""
        self.objects: tuple[SalientObject, ...] = ()
        self._motion = 0.0

    def follow(self, motion: MotionField) -> None:
        """Move the objects by one frame's motion."""
        self.objects = tuple(_moved(one, motion) for one in self.objects)
        self._motion = motion.median_length()

    def blocks(self, rows: int, cols: int) -> SalientBlocks:
        """Return what the objects that are due ask of each block; they are then no longer stale."""
        config = self.config
        confidence = np.zeros((rows, cols), dtype=np.float32)
        size = np.full((rows, cols), np.inf, dtype=np.float32)
        ease = np.ones((rows, cols), dtype=np.float32)
        objects, regions = [], []
        for one in self.objects:
            small = one.extent < config.large
            if small or one.trust >= config.sure or one.stale >= config.weak_interval:
                near = around(one.box, margin(one.size, config), rows, cols)
                pace = max(one.pace, self._motion)
                fast = pace >= config.fast
                reach = config.shape_reach * pace // BLOCK_SIZE * BLOCK_SIZE if fast else 0.0
                covered, shape = (around(one.box, by, rows, cols) for by in (0, reach))
                confidence[near] = np.maximum(confidence[near], one.trust)
                size[near] = np.minimum(size[near], one.size)
                ease[near] = np.minimum(ease[near], _ease(one, config))
                slipped = fast or one.slip > config.shape_slip
                region = SalientRegion(
                    near=marked(near, rows, cols),
                    covered=marked(covered, rows, cols),
                    shape=marked(shape, rows, cols),
                    extent=one.extent,
                    trust=one.trust,
                    slipped=slipped,
                )
                regions.append(region)
                one = replace(one, stale=0, slip=0.0 if slipped else one.slip)
            objects.append(one)
        self.objects = tuple(objects)
        return SalientBlocks(confidence, size, ease, tuple(regions), self._motion)

    def update(self, boxes: Float32, scores: Float32) -> None:
        """Take a frame's results; what they do not explain is kept for ``persistence`` frames.

        ``boxes`` ``(N, 4)``, ``scores`` ``(N,)``. Results below ``salience_threshold`` are
        ignored; one that was not known before is due in the next frame, however weak.

        :raises InputError: if the counts do not fit.
        """
        if boxes.shape != (len(scores), 4):
            raise InputError(f"{len(scores)} scores, but boxes {boxes.shape}; one of each a result")
        past = np.array([one.box for one in self.objects], dtype=np.float32).reshape(-1, 4)
        overlap = iou(past, boxes)
        same = overlap >= SAME_OBJECT_IOU
        same &= scores >= self.config.salience_threshold
        found = []
        for index in np.flatnonzero(scores >= self.config.salience_threshold).tolist():
            known = [one for one, met in zip(self.objects, same[:, index], strict=True) if met]
            strayed = 1.0 - float(overlap[:, index].max(initial=0.0))
            found.append(self._found(boxes[index], float(scores[index]), known, strayed))
        unexplained = (one for one, met in zip(self.objects, same, strict=True) if not met.any())
        decay = self.config.trust_decay
        kept = (
            replace(one, trust=one.trust * decay, steady=0.0, unseen=one.unseen + 1)
            for one in unexplained
            if one.unseen < self.config.persistence
        )
        self.objects = (*found, *kept)

    def _found(
        self, box: Float32, score: float, known: list[SalientObject], strayed: float
    ) -> SalientObject:
        """Return the object of a result ``strayed`` (1 - IoU) from where those ``known`` are."""
        held = max((one.steady for one in known), default=0.0)
        strays = bool(known) and strayed > 1.0 - self.config.agreement
        return SalientObject(
            box,
            trust=max([score, *(one.trust * self.config.trust_decay for one in known)]),
            steady=0.0 if strays else min(score, (held + score) / 2),
            stale=max((one.stale for one in known), default=self.config.weak_interval),
            slip=strayed + max((one.slip for one in known), default=0.0),
        )


def _ease(one: SalientObject, config: ReuseConfig) -> float:
    """How far an object may be treated with less care, in [0, 1]."""
    sure = (one.steady - config.doubtful) / (config.certain - config.doubtful)
    return min(max(sure, 0.0), 1.0) * min(one.extent / max(config.large, 1.0), 1.0)


def margin(size: float, config: ReuseConfig) -> float:
    """Return how many pixels around an object of shorter side ``size`` belong to it."""
    return min(max(config.margin * size, config.min_margin), config.max_margin)


def around(box: Float32, reach: float, rows: int, cols: int) -> Area:
    """Return the blocks, of ``(rows, cols)``, within about ``reach`` pixels of a box, its edges
    too: both are rounded outwards to multiples of ``SPACING``."""
    per_block = BLOCK_SIZE // SPACING
    ring = math.ceil(reach / SPACING)
    area = []
    for low, high, blocks in ((box[1], box[3], rows), (box[0], box[2], cols)):
        first = math.floor(low / SPACING) - ring
        last = math.floor(max(low, high) / SPACING) + ring
        start = min(max(first // per_block, 0), blocks)
        area.append(slice(start, max(min(last // per_block + 1, blocks), start)))
    return area[0], area[1]


def marked(area: Area, rows: int, cols: int) -> Bool:
    """Return an area as blocks ``(rows, cols)`` bool."""
    blocks = np.zeros((rows, cols), dtype=np.bool_)
    blocks[area] = True
    return blocks


def _moved(one: SalientObject, motion: MotionField) -> SalientObject:
    step = median_step(one.box, motion)
    pace = float(np.hypot(*step))
    return replace(one, box=one.box + np.tile(step, 2), stale=one.stale + 1, pace=pace)


def median_step(box: Float32, motion: MotionField) -> Float32:
    """Return the median vector ``(dx, dy)`` in pixels of the valid blocks a box touches.

    A box without one moves as the median of the whole frame, if that has any.
    """
    left, top, right, bottom = (box / BLOCK_SIZE).tolist()
    here = (
        slice(max(math.floor(top), 0), max(math.ceil(bottom), 0)),
        slice(max(math.floor(left), 0), max(math.ceil(right), 0)),
    )
    known = motion.vectors[here][motion.valid[here]]
    if len(known) == 0:
        known = motion.vectors[motion.valid]
    if len(known) == 0:
        return np.zeros(2, dtype=np.float32)
    ordered = np.sort(known, axis=0).astype(np.int32)  # far faster than np.median for so few
    middle = ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]
    step: Float32 = (middle / 2).astype(np.float32) / QUARTER_PEL
    return step


def iou(left: Float32, right: Float32) -> Float32:
    """``(N, M)`` intersection over union of ``(N, 4)`` and ``(M, 4)`` boxes."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [
        np.clip(boxes[:, 2:] - boxes[:, :2], 0.0, None).prod(axis=1) for boxes in (left, right)
    ]
    union = areas[0][:, None] + areas[1][None, :] - shared
    share: Float32 = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share
