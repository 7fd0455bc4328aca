"""`fluxshard`: the product itself, its cloud in this process behind real bytes."""

from __future__ import annotations

from dataclasses import replace

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.in_process import InProcessTransport
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.frame import Frame
from fluxshard_core.offload.proxy import RAW
from fluxshard_core.session import EdgeSession, SessionConfig
from fluxshard_core.session.config import CloudCompute


class FluxShard:
    """An edge session whose every frame is inferred in the cloud from its critical blocks.

    Without loss, the results are those of the robot: the cloud computes critical blocks. What a
    lossy codec shows it, it computes whole, as the default session has a cloud do that takes hardly
    longer for that; ``compute`` says otherwise.
    """

    def __init__(
        self,
        context: MethodContext,
        codec: str = RAW,
        quality: float | None = None,
        background_threshold: float | None = None,
        fine_threshold: float | None = None,
        *,
        compute: CloudCompute | None = None,
        session: SessionConfig | None = None,
    ) -> None:
        """Prepare; ``codec``, its ``quality``, ``compute`` and the thresholds are those of the
        default session; of ``session`` only the thresholds given and the confidences, which are
        those of ``context``, are replaced."""
        session = session or SessionConfig(
            "cloud",
            codec=codec,
            quality=quality,
            reuse_profile=context.reuse_profile,
            cloud_compute=compute or ("critical" if codec == RAW else "whole"),
        )
        reuse = session.reuse
        if reuse and background_threshold is not None:
            reuse = replace(reuse, background_threshold=background_threshold)
        if reuse and fine_threshold is not None:
            reuse = replace(reuse, fine_threshold=fine_threshold)
        session = replace(
            session,
            confidence=context.confidence,
            iou=context.iou,
            reuse=reuse,
            whole_if_sooner=False,  # results are not to depend on how fast this machine is
        )
        transport = InProcessTransport(context.engine) if session.path != "edge" else None
        self._context = context
        self._session = EdgeSession(context.engine, session, transport)

    def reset(self) -> None:
        """Forget all frames: the next one is computed whole."""
        self._session.reset()

    def process(self, frame: Frame) -> MethodResult:
        """Bring the features up to date where the policy says so, and decode them."""
        result = self._session.process(frame)
        if result.fallback_reason:
            raise RuntimeError(f"the cloud in this process failed: {result.fallback_reason}")
        letterbox = self._context.detector.preprocess(frame.image)[1]
        dense = self._context.cost.multiply_accumulates(
            letterbox.input_height, letterbox.input_width
        )
        return MethodResult(
            result.detections,
            executed=round(result.compute_ratio * dense),
            dense=dense,
            reuse_ratio=result.reuse_ratio,
            tx_bytes=result.tx_bytes,
        )
