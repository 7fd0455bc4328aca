"""`motion_deltacnn`: one global homography a frame, then deltas (Parger et al., 2023)."""

from __future__ import annotations

import numpy as np

from fluxshard_core.baselines.camera_window import CameraWindow
from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.deltacnn import (
    FEATURE_THRESHOLD,
    INPUT_THRESHOLD,
    check_thresholds,
    delta_bytes,
    delta_executor,
)
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.placement import place, to_original
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.frame import Frame
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.network import network_input
from fluxshard_core.motion.field import QUARTER_PEL, MotionField
from fluxshard_core.sparse.executor import Executor

_HOMOGRAPHY_BYTES = 9 * 8


class MotionDeltaCnn:
    """DeltaCNN on frames aligned to a reference, its buffers moving with the camera.

    The network sees a window 32 pixels larger than the frame each way, and computes all of it
    when a new reference starts. Results go back through the inverse homography.
    """

    def __init__(
        self,
        context: MethodContext,
        input_threshold: float = INPUT_THRESHOLD,
        feature_threshold: float = FEATURE_THRESHOLD,
    ) -> None:
        check_thresholds(input_threshold, feature_threshold)
        self._context = context
        self._thresholds = input_threshold, feature_threshold
        self._window = CameraWindow()
        self._executor: Executor | None = None
        self._shape: tuple[int, ...] = ()

    def reset(self) -> None:
        """Forget the reference and every cached value."""
        self._window.reset()

    def process(self, frame: Frame) -> MethodResult:
        """Align one frame and bring the features up to date with it."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        aligned = self._window.add(image)
        height, width = aligned.image.shape[:2]
        if self._executor is None or aligned.image.shape != self._shape:
            self._executor = delta_executor(self._context, aligned.image.shape, self._thresholds)
            self._shape = aligned.image.shape
        if aligned.restarted:
            self._executor.reset()
        run = self._executor.run(
            network_input(aligned.image), _uniform(height, width, aligned.shift)
        )
        window = Letterbox.fit(height, width)
        found = self._context.detector.decode(
            run.outputs, window, confidence=self._context.confidence, iou=self._context.iou
        )
        transform = to_original(letterbox) @ aligned.to_frame
        transforms = np.broadcast_to(transform, (len(found), 3, 3))
        return MethodResult(
            place(found, transforms, *frame.image.shape[:2]),
            executed=run.executed,
            dense=self._context.cost.multiply_accumulates(*image.shape[:2]),
            reuse_ratio=run.reuse_ratio,
            tx_bytes=wire_bytes(delta_bytes(run) + _HOMOGRAPHY_BYTES, window),
        )


def _uniform(height: int, width: int, shift: tuple[int, int]) -> MotionField:
    still = MotionField.zero(height, width)
    vectors = still.vectors + np.array(shift, dtype=np.int16) * np.int16(QUARTER_PEL)
    return MotionField(vectors, still.valid)
