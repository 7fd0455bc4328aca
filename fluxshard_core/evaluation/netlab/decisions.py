"""Sessions that are told what is in a frame, so that a network with random weights can be timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload.transport import Transport
from fluxshard_core.session import EdgeSession, Engine, FrameResult, SessionConfig


def decide(model: str, frames: Sequence[Frame], config: SessionConfig) -> list[Detections]:
    """Return what the trained network ``model`` finds in each frame, computed whole."""
    detector = Detector.load(model)
    return [
        detector.detect(frame.image, confidence=config.decode_confidence, iou=config.iou)
        for frame in frames
    ]


class ToldSession(EdgeSession):
    """Learns where objects are from ``told``, one for each frame, and not from its own results.

    These it decodes like any method, but from a confidence on that leaves about as many of them as
    it is told of: random weights find hundreds of objects in a frame, whose masks would take longer
    to decode and to send than a trained network's.
    """

    def __init__(
        self,
        engine: Engine,
        config: SessionConfig,
        transport: Transport | None,
        told: Sequence[Detections],
    ) -> None:
        super().__init__(engine, replace(config, weak_results=False), transport)
        self._told = told
        self._confidence_found = False

    def process(self, frame: Frame) -> FrameResult:
        """As every session; before the first frame find the confidence to decode from."""
        if not self._confidence_found:
            self._find_confidence(frame)
        return super().process(frame)

    def _find_confidence(self, frame: Frame) -> None:
        self._confidence_found = True
        least = self.config.confidence
        usual = fmean(len(told.above(least)) for told in self._told)
        found = self.detector.detect(frame.image, confidence=least, iou=self.config.iou)
        scores = np.sort(found.scores)[::-1]
        if len(scores) > usual:
            confidence = float(scores[max(round(usual), 1) - 1])
            self.config = replace(self.config, confidence=confidence)

    def _learn(self, number: int, found: Detections, letterbox: Letterbox) -> None:
        super()._learn(number, self._told[number], letterbox)
