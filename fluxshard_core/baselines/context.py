"""What every method is built from: the evaluated model, its thresholds, its engine and its cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fluxshard_core.baselines.cost import DenseCost
from fluxshard_core.models.detections import Detections, UInt8
from fluxshard_core.models.detector import DEFAULT_IOU, Detector
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.reuse.shipped import SHIPPED, ProfileChoice
from fluxshard_core.session import Engine

DECODE_CONFIDENCE = 0.1  # below the 0.15 that the metrics still count


@dataclass(frozen=True)
class MethodContext:
    """Shared by all methods of one evaluation; holds nothing that a frame changes.

    ``budget`` is the accuracy a calibrated method may give up, as a share of the dense one's.
    ``random_seed`` is that of the evaluated model, for methods that load another one beside it.
    ``reuse_profile`` is what FluxShard's sessions choose their policies by.
    """

    detector: Detector
    confidence: float = DECODE_CONFIDENCE
    iou: float = DEFAULT_IOU
    budget: float = 0.03
    random_seed: int | None = None
    reuse_profile: ProfileChoice = SHIPPED

    @cached_property
    def cost(self) -> DenseCost:
        """Multiply-accumulates of the evaluated network by input size."""
        return DenseCost.of(self.detector.network)

    @cached_property
    def engine(self) -> Engine:
        """What every executor and session shares."""
        return Engine(self.detector)

    def detect(self, image: UInt8, letterbox: Letterbox) -> Detections:
        """Run the evaluated network on a letterboxed ``(H, W, 3)`` image and decode it."""
        return self.detector.decode(
            self.detector.infer(image), letterbox, confidence=self.confidence, iou=self.iou
        )
