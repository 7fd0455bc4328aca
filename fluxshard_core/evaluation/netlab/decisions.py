"""Sessions that are told what is in a frame, so that a network with random weights can be timed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload.transport import Transport
from fluxshard_core.session import EdgeSession, Engine, SessionConfig


def decide(model: str, frames: Sequence[Frame], config: SessionConfig) -> list[Detections]:
    """Return what the trained network ``model`` finds in each frame, computed whole."""
    detector = Detector.load(model)
    return [
        detector.detect(frame.image, confidence=config.decode_confidence, iou=config.iou)
        for frame in frames
    ]


class ToldSession(EdgeSession):
    """Learns where objects are from ``told``, one for each frame, and not from its own results.

    These it decodes like any method, from the confidence of what is published on: random weights
    find weak results by the thousand, a trained network hardly more than strong ones.
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

    def _learn(self, number: int, found: Detections, letterbox: Letterbox) -> None:
        super()._learn(number, self._told[number], letterbox)
