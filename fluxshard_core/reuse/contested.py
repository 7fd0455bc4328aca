"""How exact the pixels of each block must be: most where a result hangs in the balance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.salience import (
    SAME_OBJECT_IOU,
    SalientBlocks,
    around,
    iou,
    median_step,
)

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

DECAY, UNSEEN_DECAY = 0.97, 0.8  # of a contest, a frame: it comes back where it was
FORGOTTEN = 0.1
MAX_UNSEEN = 32
SAFE, LOST = 0.8, 0.3  # confidence from which no noise loses an object, up to which any may
MOST_CARE = -0.75
SIZE_EASE = 0.4  # for each doubling of an object's extent
USUAL_EXTENT = 100.0  # pixels, root of the area
AROUND = 16.0  # pixels
AROUND_EASE = 0.5  # added beside an object
REST_EASE = 1.5  # of what only shows where objects are


class Contests:
    """Places where a little noise may lose an object.

    A cell of the network is one candidate, of its best class: where two classes are about as
    likely, results of both overlap or follow each other, and noise turns all cells of an object to
    the other class. The rival of an object that is alone is nothing: its confidence may fall below
    what is published. Noise that only changes a high confidence loses nothing.
    """

    def __init__(self) -> None:
        self._boxes: Float32 = np.zeros((0, 4), dtype=np.float32)
        self._classes: Int32 = np.zeros(0, dtype=np.int32)
        self._contest: Float32 = np.zeros(0, dtype=np.float32)
        self._scores: Float32 = np.zeros(0, dtype=np.float32)

    def follow(self, motion: MotionField) -> None:
        """Move the places by one frame's motion."""
        steps = [np.tile(median_step(box, motion), 2) for box in self._boxes]
        if steps:
            self._boxes = self._boxes + np.stack(steps)

    def update(self, boxes: Float32, scores: Float32, classes: Int32) -> None:
        """Take a frame's results, weak ones too: ``(N, 4)``, ``(N,)``, ``(N,)``.

        Of two overlapping results of different classes either is contested by how near their
        scores are, and wholly where another class than now was found one frame before.
        """
        others = (iou(boxes, boxes) >= SAME_OBJECT_IOU) & (classes[:, None] != classes)
        better = np.maximum(np.maximum(scores, scores[:, None]), 1e-6)
        nearness = np.where(others, np.minimum(scores, scores[:, None]) / better, 0)
        now = (np.minimum(better / LOST, 1) * nearness).max(axis=1, initial=0)
        met = iou(self._boxes, boxes) >= SAME_OBJECT_IOU
        alike = self._classes[:, None] == classes
        turned = (met & ~alike).any(axis=0) & ~(met & alike).any(axis=0)
        held = np.where(met, DECAY * self._contest[:, None], 0).max(axis=0, initial=0)
        kept = self._unseen(met)
        self._scores = np.concatenate([scores, np.zeros(len(kept))]).astype(np.float32)
        contest = np.maximum(now, np.maximum(turned, held))
        left = UNSEEN_DECAY * self._contest[kept]
        self._contest = np.concatenate([contest, left]).astype(np.float32)
        self._boxes = np.concatenate([boxes, self._boxes[kept]]).astype(np.float32)
        self._classes = np.concatenate([classes, self._classes[kept]]).astype(np.int32)

    def _unseen(self, met: Bool) -> Int32:
        """Return the indices of the most doubtful places that no result met."""
        doubt = np.where(met.any(axis=1), 0, UNSEEN_DECAY * self._contest)
        most = np.argsort(-doubt, kind="stable")[:MAX_UNSEEN].astype(np.int32)
        return most[doubt[most] > FORGOTTEN]

    def highest(self, extent: float) -> float:
        """Return how contested, in [0, 1], the most contested class is of an object of at least
        ``extent`` pixels (root of its box's area); 0 if there is none."""
        return float(self._contest[self._extents >= extent].max(initial=0.0))

    def ease(self, rows: int, cols: int) -> Float32:
        """Return how little care each block needs, ``(rows, cols)`` float32 in [-0.75, 1].

        On each object it is what the one needing most care asks for, ``AROUND_EASE`` more beside
        it, 1 where there is none.
        """
        ease = np.ones((rows, cols), dtype=np.float32)
        each = self._each_ease()
        for index in np.flatnonzero(each < 1):
            for reach, added in ((AROUND, AROUND_EASE), (0.0, 0.0)):
                here = around(self._boxes[index], reach, rows, cols)
                ease[here] = np.minimum(ease[here], each[index] + added)
        return ease

    @property
    def _extents(self) -> Float32:
        """Root of the area of each box ``(N,)``, in pixels."""
        sides = np.maximum(self._boxes[:, 2:] - self._boxes[:, :2], 1)
        extents: Float32 = np.sqrt(sides.prod(axis=1))
        return extents

    def _each_ease(self) -> Float32:
        """Return the ease of each object ``(N,)``.

        An object needs care by how far its score is from ``SAFE`` towards ``LOST``; one weaker than
        that matters less, as hardly anybody will see it. Noise moves the box of a small object by a
        larger share of it, and exact pixels of few blocks are cheap; but a contested class is lost
        at any size.
        """
        size = SIZE_EASE * np.log2(self._extents / USUAL_EXTENT)
        weakness = np.clip((SAFE - self._scores) / (SAFE - LOST), 0, 1)
        weak = 1 - np.minimum(self._scores / LOST, 1) * (weakness - size)
        contested = 1 - self._contest * (1 - np.minimum(size, 0))
        ease = np.clip(np.minimum(weak, contested), MOST_CARE, 1)
        return np.asarray(ease, dtype=np.float32)


def coding_ease(salient: SalientBlocks, ease: Float32, critical: Bool) -> Float32:
    """Return ``ease`` ``(rows, cols)``, 1 where no object is due, however much one needs care, and
    ``REST_EASE`` outside the blocks ``critical``."""
    due = np.where(salient.confidence == 0, np.float32(1), ease)
    return np.where(critical, due, np.float32(REST_EASE))
