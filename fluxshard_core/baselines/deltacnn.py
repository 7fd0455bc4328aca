"""`deltacnn`: recompute the pixels that changed, at fixed coordinates (Parger et al., 2022)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame
from fluxshard_core.models.network import network_input
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.frame_run import FrameRun

# Of a coarse grid, the largest that kept about 0.97 of the boxes on moderately fast video; for the
# whole curve evaluate several.
INPUT_THRESHOLD = 0.04
FEATURE_THRESHOLD = 0.2
_CHANNELS = 3


class DeltaCnn:
    """Deltas against the values last propagated, per pixel and layer.

    A pixel whose largest channel difference stays within ``input_threshold`` (pixels in [0, 1]),
    or ``feature_threshold`` in every later map, is not propagated; its difference is not lost but
    measured again in the next frame, as DeltaCNN's truncation buffers do. That is the executor's
    bounded mode without motion. It never falls back to a dense run. The cloud gets the changed
    pixels, raw, and a bit for each 2x2 of them.
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
        self._executor: Executor | None = None
        self._shape: tuple[int, ...] = ()

    def reset(self) -> None:
        """Forget every cached value: the next frame is computed whole."""
        if self._executor is not None:
            self._executor.reset()

    def process(self, frame: Frame) -> MethodResult:
        """Bring the features up to date with one frame."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        if self._executor is None or image.shape != self._shape:
            self._executor = delta_executor(self._context, image.shape, self._thresholds)
            self._shape = image.shape
        run = self._executor.run(network_input(image))
        found = self._context.detector.decode(
            run.outputs, letterbox, confidence=self._context.confidence, iou=self._context.iou
        )
        return MethodResult(
            found,
            executed=run.executed,
            dense=run.dense,
            reuse_ratio=run.reuse_ratio,
            tx_bytes=wire_bytes(delta_bytes(run), letterbox),
        )


def check_thresholds(*thresholds: float) -> None:
    """Raise ``InputError`` unless all are finite and not negative."""
    for threshold in thresholds:
        if not 0.0 <= threshold < math.inf:
            raise InputError(f"difference threshold is {threshold}; use one in [0, inf)")


def delta_executor(
    context: MethodContext, shape: tuple[int, ...], thresholds: tuple[float, float]
) -> Executor:
    """Return an executor for ``(H, W, 3)`` images that propagates only differences above the
    thresholds, that of the input and that of every later map."""
    plan = context.engine.plan(shape[0], shape[1])
    at_input, in_features = thresholds
    by_stride = dict.fromkeys(plan.strides, in_features) | {1: at_input}
    options = ExecutorOptions(mode="bounded", thresholds=by_stride, crossing=math.inf)
    return Executor(plan, context.engine.backend, options)


def delta_bytes(run: FrameRun) -> int:
    """Return the payload of a frame: a bit per 2x2 pixels, and the RGB of those that changed."""
    finest = min(run.recomputed)
    cells = _halved(_halved(run.recomputed[finest]).T)
    return math.ceil(cells.size / 8) + int(np.count_nonzero(cells)) * 4 * _CHANNELS


def _halved(flags: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Merge pairs of rows; their number is even."""
    merged: npt.NDArray[np.bool_] = flags[::2] | flags[1::2]
    return merged
