"""The per-frame story of both ends: `EdgeSession` on the robot, `CloudSession` for each robot.

Inference is dense on either side. A frame sent to the cloud travels as block shards of the network
input, so that sending fewer of them changes no message.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from time import monotonic, perf_counter
from types import TracebackType
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.dispatcher import Decision, Dispatcher
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.transport import LinkError, RemoteRefused, Transport
from fluxshard_core.timing import StageTimer

Path = Literal["edge", "cloud", "auto"]
Side = Literal["edge", "cloud"]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SessionConfig:
    """How a session infers. ``cloud_timeout_s`` is a frame's deadline on the way to the cloud."""

    path: Path = "edge"
    confidence: float = 0.25
    iou: float = 0.7
    cloud_timeout_s: float = 2.0

    def __post_init__(self) -> None:
        if self.path not in get_args(Path):
            raise InputError(f"path is {self.path!r}; choose one of: {', '.join(get_args(Path))}")
        for name in ("confidence", "iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in [0, 1]")
        if self.cloud_timeout_s <= 0:
            raise InputError(f"cloud_timeout_s is {self.cloud_timeout_s}; it must be positive")


@dataclass(frozen=True)
class FrameResult:
    """What came of one frame, and how.

    ``path`` is the side that made the result; ``fallback_reason`` says why the edge had to finish
    a frame meant for the cloud. ``reuse_ratio`` is reused / all tiles, ``compute_ratio`` executed
    / dense multiply-accumulates, ``transmission_ratio`` sent bytes / raw RGB bytes of the input.
    """

    number: int
    stamp_ns: int
    frame_id: str
    detections: Detections
    path: Side
    fallback_reason: str = ""
    reuse_ratio: float = 0.0
    compute_ratio: float = 1.0
    transmission_ratio: float = 0.0
    tx_bytes: int = 0
    rx_bytes: int = 0
    stage_ms: dict[str, float] = field(default_factory=dict)
    decision: Decision | None = None


class EdgeSession:
    """One robot camera: frames in, results out, on this machine or through ``transport``."""

    def __init__(
        self,
        detector: Detector,
        config: SessionConfig | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.detector = detector
        self.config = config or SessionConfig()
        self._transport = transport
        if transport is None and self.config.path == "cloud":
            raise InputError("path is 'cloud', but the session has no transport to reach one")
        self._session = secrets.token_hex(8)
        self._epoch = 0
        self._number = 0
        self._dispatcher = Dispatcher()

    @classmethod
    def open(
        cls,
        model: str = "yolo11n",
        config: SessionConfig | None = None,
        transport: Transport | None = None,
    ) -> EdgeSession:
        """Load ``model`` by name or path and start a session with it."""
        return cls(Detector.load(model), config, transport)

    def process(self, frame: Frame) -> FrameResult:
        """Infer one frame; always returns a result, made on the edge when the cloud fails."""
        timer = StageTimer()
        number, self._number = self._number, self._number + 1
        with timer.stage("preprocess"):
            image, letterbox = self.detector.preprocess(frame.image)
        decision = self._decide()
        result = FrameResult(
            number, frame.stamp_ns, frame.frame_id, Detections(), "edge", decision=decision
        )
        if decision.path == "cloud":
            result = self._on_cloud(result, image, letterbox, timer)
        if result.path == "edge":
            result = self._on_edge(result, image, letterbox, timer)
        return replace(result, stage_ms=timer.stage_ms)

    def reset(self) -> None:
        """Forget everything learned from earlier frames; the next one starts a new epoch."""
        self._epoch += 1
        self._dispatcher = Dispatcher()

    def close(self) -> None:
        """Close the transport; further calls do nothing."""
        if self._transport is not None:
            self._transport.close()

    def __enter__(self) -> EdgeSession:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _decide(self) -> Decision:
        if self.config.path == "auto" and self._transport is not None:
            return self._dispatcher.decide(monotonic())
        side: Side = "cloud" if self.config.path == "cloud" else "edge"
        return Decision(side, None, None, "configured")

    def _on_edge(
        self, result: FrameResult, image: UInt8, letterbox: Letterbox, timer: StageTimer
    ) -> FrameResult:
        """Infer ``image`` here and put what was found into ``result``."""
        start = perf_counter()
        with timer.stage("infer"):
            outputs = self.detector.infer(image)
        with timer.stage("decode"):
            found = self.detector.decode(
                outputs, letterbox, confidence=self.config.confidence, iou=self.config.iou
            )
        self._dispatcher.record("edge", (perf_counter() - start) * 1e3)
        return replace(result, path="edge", detections=found)

    def _on_cloud(
        self, result: FrameResult, image: UInt8, letterbox: Letterbox, timer: StageTimer
    ) -> FrameResult:
        """Have the cloud infer ``image``; when the link or the cloud fails, say why and stay on
        the edge.
        """
        assert self._transport is not None
        tx_before, rx_before = self._transport.tx_bytes, self._transport.rx_bytes
        start = perf_counter()
        with timer.stage("encode"):
            request = self._request(result, image, letterbox)
        try:
            with timer.stage("cloud"):
                answer = self._transport.infer(request, self.config.cloud_timeout_s)
            if answer.error:
                raise RemoteRefused(answer.error)
        except LinkError as error:
            self._dispatcher.link_failed(monotonic())
            return replace(result, fallback_reason=str(error))
        self._dispatcher.record("cloud", (perf_counter() - start) * 1e3)
        timer.stage_ms |= {f"cloud.{name}": spent for name, spent in answer.stage_ms.items()}
        tx_bytes = self._transport.tx_bytes - tx_before
        return replace(
            result,
            path="cloud",
            detections=answer.detections,
            tx_bytes=tx_bytes,
            rx_bytes=self._transport.rx_bytes - rx_before,
            transmission_ratio=tx_bytes / image.nbytes,
        )

    def _request(self, result: FrameResult, image: UInt8, letterbox: Letterbox) -> ShardFrame:
        """Every block of ``image``: a dense frame."""
        ids = shard_codec.all_blocks(*image.shape[:2])
        return ShardFrame(
            session=self._session,
            epoch=self._epoch,
            number=result.number,
            stamp_ns=result.stamp_ns,
            model_hash=self.detector.model_hash,
            letterbox=letterbox,
            confidence=self.config.confidence,
            iou=self.config.iou,
            shards=shard_codec.encode(image, ids),
        )


class CloudSession:
    """What the cloud keeps for one robot: the network input as the robot last described it."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._input = np.zeros((0, 0, 3), dtype=np.uint8)
        self._epoch = -1

    def process(self, frame: ShardFrame) -> InferenceResult:
        """Bring the input up to date with the frame's shards and infer it.

        Raises :class:`InputError` when the frame is for another model, or builds on an input this
        session never got.
        """
        if frame.model_hash != self._detector.model_hash:
            raise InputError(
                f"this cloud runs {self._detector.name} ({self._detector.model_hash}), the robot "
                f"asked for model {frame.model_hash}: start both with the same model and weights"
            )
        timer = StageTimer()
        with timer.stage("decode_shards"):
            self._update(frame)
        with timer.stage("infer"):
            outputs = self._detector.infer(self._input)
        with timer.stage("decode"):
            found = self._detector.decode(
                outputs, frame.letterbox, confidence=frame.confidence, iou=frame.iou
            )
        return InferenceResult(
            frame.session, frame.epoch, frame.number, frame.stamp_ns, found, timer.stage_ms
        )

    def _update(self, frame: ShardFrame) -> None:
        height, width = frame.letterbox.input_height, frame.letterbox.input_width
        known = frame.epoch == self._epoch and self._input.shape[:2] == (height, width)
        if not known:
            if len(frame.shards.ids) != len(shard_codec.all_blocks(height, width)):
                raise InputError(
                    f"epoch {frame.epoch} of session {frame.session} starts here with "
                    f"{len(frame.shards.ids)} blocks: its first frame must bring every block"
                )
            self._input = np.zeros((height, width, 3), dtype=np.uint8)
            self._epoch = frame.epoch
        shard_codec.decode_into(self._input, frame.shards)
