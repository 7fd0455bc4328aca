"""Where a result hangs in the balance: there the pixels must be exact, elsewhere hardly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluxshard_core.motion.field import MotionField
from fluxshard_core.reuse.salience import (
    SAME_OBJECT_IOU,
    SalientBlocks,
    box_points,
    iou,
    median_step,
    surroundings,
)

Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

DECAY, UNSEEN_DECAY = 0.97, 0.8  # of a contest, a frame: it comes back where it was
FORGOTTEN = 0.1
MAX_UNSEEN = 32
SAFE, LOST = 0.8, 0.3  # confidence from which no noise loses an object, up to which any may
AROUND_EASE = 0.5  # added beside an object


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
        self._weakness: Float32 = np.zeros(0, dtype=np.float32)

    def follow(self, motion: MotionField) -> None:
        """Move the places by one frame's motion."""
        steps = [np.tile(median_step(box, motion), 2) for box in self._boxes]
        if steps:
            self._boxes = self._boxes + np.stack(steps)

    def update(self, boxes: Float32, scores: Float32, classes: Int32) -> None:
        """Take a frame's results, weak ones too: ``(N, 4)``, ``(N,)``, ``(N,)``.

        Of two overlapping results of different classes either is contested by how near their
        scores are, wholly where another class than now was found one frame before, and every one
        by how far its score is from ``SAFE`` towards ``LOST``. What is weaker than that matters
        less: hardly anybody will see it.
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
        self._weakness = np.zeros(len(boxes) + len(kept), dtype=np.float32)
        weak = np.minimum((SAFE - scores) / (SAFE - LOST), scores / LOST)
        self._weakness[: len(boxes)] = np.clip(weak, 0, 1)
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

    def blocks(self, rows: int, cols: int) -> Float32:
        """Return how contested each block is, ``(rows, cols)`` float32 in [0, 1]."""
        doubt = np.zeros((rows, cols), dtype=np.float32)
        each = np.maximum(self._contest, self._weakness)
        for index in np.flatnonzero(each > FORGOTTEN):
            here = surroundings(box_points(self._boxes[index]), 0, rows, cols)
            doubt[here] = np.maximum(doubt[here], each[index])
        return doubt


def coding_ease(salient: SalientBlocks, contested: Float32) -> Float32:
    """Return how little care the pixels of each block need, ``(rows, cols)`` float32 in [0, 1].

    The less ``contested`` the more, more beside objects than on them, and 1 where there is none.
    """
    covered = np.zeros(contested.shape, dtype=np.bool_)
    for region in salient.regions:
        covered |= region.covered
    ease = (1 - contested) + AROUND_EASE * ~covered
    ease[salient.confidence == 0] = 1
    return np.asarray(np.clip(ease, 0, 1), dtype=np.float32)
