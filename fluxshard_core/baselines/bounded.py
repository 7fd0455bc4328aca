"""`bounded`: the published description of FluxShard, thresholds a layer instead of blocks."""

from __future__ import annotations

import math

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.deltacnn import check_thresholds, delta_bytes
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.frame import Frame
from fluxshard_core.models.network import network_input
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.offload import motion_packing
from fluxshard_core.reuse.completion import completed
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.spread import RfapRule

INPUT_THRESHOLD = 0.08
FEATURE_THRESHOLD = 0.4


class Bounded:
    """Features follow the block motion; a change above the thresholds spreads layer by layer.

    A cell is recomputed where its receptive field may not be reused, by ``rfap``, or a change above
    ``input_threshold`` (pixels in [0, 1]), ``feature_threshold`` in every later map, reaches it.
    That is the executor's bounded mode. The cloud gets the changed pixels, raw, a bit for each
    2x2 of them, and the motion.
    """

    def __init__(
        self,
        context: MethodContext,
        input_threshold: float = INPUT_THRESHOLD,
        feature_threshold: float = FEATURE_THRESHOLD,
        rfap: RfapRule = "per_layer",
    ) -> None:
        check_thresholds(input_threshold, feature_threshold)
        self._context = context
        self._thresholds = input_threshold, feature_threshold
        self._rfap: RfapRule = rfap
        self._motion = EncoderMotion()
        self._executor: Executor | None = None

    def reset(self) -> None:
        """Forget every cached value: the next frame is computed whole."""
        self._motion.reset()
        if self._executor is not None:
            self._executor.reset()

    def process(self, frame: Frame) -> MethodResult:
        """Bring the features up to date with one frame."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        height, width = image.shape[:2]
        if self._executor is None or self._executor.size != (height, width):
            self._executor = self._new_executor(height, width)
        motion = completed(self._motion.next(image).field)
        run = self._executor.run(network_input(image), motion)
        found = self._context.detector.decode(
            run.outputs, letterbox, confidence=self._context.confidence, iou=self._context.iou
        )
        sent = delta_bytes(run) + motion_packing.pack(motion).size
        return MethodResult(
            found,
            executed=run.executed,
            dense=run.dense,
            reuse_ratio=run.reuse_ratio,
            tx_bytes=wire_bytes(sent, letterbox),
        )

    def _new_executor(self, height: int, width: int) -> Executor:
        plan = self._context.engine.plan(height, width)
        at_input, in_features = self._thresholds
        by_stride = dict.fromkeys(plan.strides, in_features) | {1: at_input}
        options = ExecutorOptions("bounded", by_stride, crossing=math.inf, rfap=self._rfap)
        return Executor(plan, self._context.engine.backend, options)
