"""`coach`: repeat the last result while the whole frame looks the same, else send it coarsely."""

from __future__ import annotations

import cv2
import numpy as np

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.image_codecs import QuantisedImages
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections, UInt8
from fluxshard_core.motion.source import luma

SIMILAR = 0.95
_WINDOW, _SIGMA = (11, 11), 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class Coach:
    """Whole-frame reuse: ``similar`` is the SSIM with the last frame sent that repeats its result.

    A frame that differs is quantised to a quarter of its bytes and inferred dense in the cloud.
    """

    def __init__(self, context: MethodContext, similar: float = SIMILAR) -> None:
        if not 0.0 < similar <= 1.0:
            raise InputError(f"SSIM threshold is {similar}; use one in (0, 1]")
        self._context = context
        self._similar = similar
        self._codec = QuantisedImages()
        self._last: tuple[UInt8, Detections] | None = None

    def reset(self) -> None:
        """Forget the last frame and its result."""
        self._last = None

    def process(self, frame: Frame) -> MethodResult:
        """Compare one frame with the last one sent, and send it if it differs."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        dense = self._context.cost.multiply_accumulates(*image.shape[:2])
        grey = luma(image)
        if self._last is not None and structural_similarity(grey, self._last[0]) >= self._similar:
            return MethodResult(self._last[1], executed=0, dense=dense, reuse_ratio=1.0)
        received = self._codec.transmit(image)
        found = self._context.detect(received.image, letterbox)
        self._last = grey, found
        return MethodResult(
            found, dense, dense, tx_bytes=wire_bytes(received.payload_bytes, letterbox)
        )


def structural_similarity(left: UInt8, right: UInt8) -> float:
    """Return the mean SSIM of two ``(H, W)`` uint8 images, 0 if their sizes differ.

    Gaussian window of 11 pixels, sigma 1.5 (Wang et al., Image Quality Assessment, 2004).
    """
    if left.shape != right.shape:
        return 0.0
    x, y = left.astype(np.float32), right.astype(np.float32)
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x = _smooth(x * x) - mean_x * mean_x
    var_y = _smooth(y * y) - mean_y * mean_y
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    structure = (2 * covariance + _C2) / (var_x + var_y + _C2)
    return float((luminance * structure).mean())


def _smooth(image: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(image, _WINDOW, _SIGMA), dtype=np.float32)
