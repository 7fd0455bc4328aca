"""`edge_only`: every frame, dense, on the robot."""

from __future__ import annotations

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.frame import Frame


class EdgeOnly:
    """The whole network on every frame; nothing is sent or kept."""

    def __init__(self, context: MethodContext) -> None:
        self._context = context

    def reset(self) -> None:
        """Nothing to forget."""

    def process(self, frame: Frame) -> MethodResult:
        """Infer one frame."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        dense = self._context.cost.multiply_accumulates(*image.shape[:2])
        return MethodResult(self._context.detect(image, letterbox), dense, dense)
