"""How a session infers, and what it says of each frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import DEFAULT_CONFIDENCE, DEFAULT_IOU
from fluxshard_core.motion.factory import IMAGE_SOURCES
from fluxshard_core.offload.dispatcher import Decision
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.proxy import H264, RAW
from fluxshard_core.offload.shard_codec import CODECS as STILL_CODECS
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import ReuseProfile
from fluxshard_core.reuse.shipped import SHIPPED, ProfileChoice, shipped_profile
from fluxshard_core.sparse.executor import ExecutorOptions

Path = Literal["edge", "cloud", "auto"]
Side = Literal["edge", "cloud"]
CloudCompute = Literal["auto", "critical", "whole"]
PROXY_CODECS = (*STILL_CODECS, H264)
AUTO_CODEC = "auto"


@dataclass(frozen=True)
class Profiles:
    """What a frame costs either side, by which ``auto`` places frames."""

    edge: LatencyProfile
    cloud: LatencyProfile


@dataclass(frozen=True)
class BackgroundConfig:
    """What a session does while no frame waits (:meth:`EdgeSession.idle`).

    ``edge``: spare cycles bring stale blocks of the robot's own features up to date. ``cloud``:
    spare bandwidth carries stale blocks to the cloud. ``piece_blocks``: of the network's input,
    that one piece of work has at most; ``least_staleness``: frames of age, as
    :func:`~fluxshard_core.reuse.freshness.staleness` counts them, from which a block is worth it.
    ``most_send_ms``: the longest that a piece may occupy the link, by the estimated bandwidth.
    ``probe``: on path ``auto`` a TCP link that no frame uses, though a faster one would be used,
    is measured with 40 kB every two seconds or a fifth of its time, to know when it is faster.
    """

    edge: bool = False
    cloud: bool = False
    piece_blocks: int = 64
    least_staleness: float = 4.0
    most_send_ms: float = 10.0
    probe: bool = True

    def __post_init__(self) -> None:
        if self.piece_blocks < 1:
            raise InputError(f"piece_blocks is {self.piece_blocks}; use 1 or more")
        for name in ("least_staleness", "most_send_ms"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} is {getattr(self, name)}; use a positive number")


@dataclass(frozen=True)
class SessionConfig:
    """How a session infers.

    ``path``: on which side. ``cloud_timeout_s`` is a frame's deadline on the way to the cloud.
    ``reuse`` says what may stay slightly old; None computes every frame whole. A calibrated
    ``reuse_profile`` takes its place, by how much the scene moves; the ``shipped`` one, if there is
    one for the model, only that of the default, and None leaves ``reuse`` as it is. ``motion`` is
    where the motion comes from, ``codec`` how blocks travel (``auto``: whichever is soonest there)
    and ``quality`` the codec's own measure of it. With ``profiles`` the ``auto`` path expects of
    each side what they say, without it learns from what either side took. ``cloud_compute``: what
    the cloud computes anew: the ``critical`` blocks, or the ``whole`` frame, at no loss by reused
    features; ``auto``: all of it if the codec loses something anyway and the cloud needs hardly
    longer (:data:`~fluxshard_core.session.placement.WORTH_MS`). Only critical blocks are sent
    either way, but for ``h264``: the stream of a frame that is computed whole shows the rest of it
    too, coarsely. ``whole_if_sooner``: a frame of the edge is computed whole where that takes less
    time than its critical blocks.
    ``background`` is what to do while no frame waits. ``executor`` are the edge's own options, in
    block mode; the cloud's are the defaults. ``weak_results``: whether results too weak to be
    published are looked for too, to keep their surroundings fresh; false only where a session is
    told what is in its frames.
    """

    path: Path = "edge"
    confidence: float = DEFAULT_CONFIDENCE
    iou: float = DEFAULT_IOU
    cloud_timeout_s: float = 2.0
    reuse: ReuseConfig | None = field(default_factory=ReuseConfig)
    reuse_profile: ProfileChoice = SHIPPED
    motion: str = "encoder"
    codec: str = RAW
    quality: float | None = None
    profiles: Profiles | None = None
    cloud_compute: CloudCompute = "auto"
    whole_if_sooner: bool = True
    background: BackgroundConfig = field(default_factory=BackgroundConfig)
    executor: ExecutorOptions = field(default_factory=ExecutorOptions)
    weak_results: bool = True

    def __post_init__(self) -> None:
        for name, known in (
            ("path", get_args(Path)),
            ("motion", IMAGE_SOURCES),
            ("cloud_compute", get_args(CloudCompute)),
            ("codec", (*PROXY_CODECS, AUTO_CODEC)),
        ):
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name} is {getattr(self, name)!r}; choose one of: {', '.join(known)}"
                )
        for name in ("confidence", "iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InputError(f"{name} is {getattr(self, name)}; it must lie in [0, 1]")
        if self.cloud_timeout_s <= 0:
            raise InputError(f"cloud_timeout_s is {self.cloud_timeout_s}; it must be positive")

    def profile_of(self, model: str, model_hash: str) -> ReuseProfile | None:
        """Return the profile to use with a model of this name and hash, None without one.

        :raises InputError: if one was asked for that was made for other weights.
        """
        if self.reuse_profile == SHIPPED:
            return shipped_profile(model, model_hash) if self.reuse == ReuseConfig() else None
        if self.reuse_profile is None or self.reuse is None:
            return None
        self.reuse_profile.check_model(model, model_hash)
        return self.reuse_profile

    @property
    def decode_confidence(self) -> float:
        """Confidence from which results are decoded: weak ones are not published, but keep their
        surroundings fresh."""
        if self.reuse is None or not self.weak_results:
            return self.confidence
        return min(self.confidence, self.reuse.salience_threshold)


@dataclass(frozen=True)
class BackgroundWork:
    """What was done while no frame waited: blocks brought up to date on the edge and in the cloud,
    and the bytes sent for the latter, framing included."""

    edge_blocks: int = 0
    cloud_blocks: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True)
class FrameResult:
    """What came of one frame, and how.

    ``path`` is the side that made the result; ``fallback_reason`` says why the edge had to finish
    a frame meant for the cloud, ``dense_reason`` why it was computed whole. ``reuse_ratio`` is
    reused / all blocks, ``compute_ratio`` executed / dense multiply-accumulates,
    ``transmission_ratio`` sent bytes / raw RGB bytes of the input. ``resyncs`` counts the dense
    frames of the session that were due because edge and cloud no longer agreed. ``realised_ms``
    is what the side that made the result took, to hold against the ``decision``. ``background`` is
    what was done since the frame before; its bytes are not in ``tx_bytes``.
    """

    number: int
    stamp_ns: int
    frame_id: str
    detections: Detections
    path: Side
    fallback_reason: str = ""
    dense_reason: str = ""
    reuse_ratio: float = 0.0
    compute_ratio: float = 1.0
    transmission_ratio: float = 0.0
    tx_bytes: int = 0
    rx_bytes: int = 0
    resyncs: int = 0
    realised_ms: float = 0.0
    stage_ms: dict[str, float] = field(default_factory=dict)
    decision: Decision | None = None
    background: BackgroundWork = BackgroundWork()
