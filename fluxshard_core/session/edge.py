"""EdgeSession: one robot camera, frames in, results out."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter

import numpy as np
import numpy.typing as npt

from fluxshard_core.closing import Closing
from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.detector import Detector
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.network import network_bytes
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.transport import LinkError, Transport
from fluxshard_core.reuse.config import ReuseConfig
from fluxshard_core.reuse.profile import ReuseProfile
from fluxshard_core.session.background import Background
from fluxshard_core.session.config import BackgroundWork, FrameResult, SessionConfig, Side
from fluxshard_core.session.endpoint import Proposal
from fluxshard_core.session.engine import Engine
from fluxshard_core.session.link import CloudLink
from fluxshard_core.session.placement import Placement
from fluxshard_core.session.robot_state import RobotState
from fluxshard_core.session.whole_frames import SOONER_WHOLE
from fluxshard_core.threads import compute_threads, computing
from fluxshard_core.timing import StageTimer

UInt8 = npt.NDArray[np.uint8]


class EdgeSession(Closing):
    """Infers each frame on this machine or, through ``transport``, in the cloud.

    ``config`` may be exchanged between two frames.
    """

    def __init__(
        self,
        model: Detector | Engine,
        config: SessionConfig | None = None,
        transport: Transport | None = None,
    ) -> None:
        self.engine = model if isinstance(model, Engine) else Engine(model)
        self.config = config or SessionConfig()
        if transport is None and self.config.path == "cloud":
            raise InputError("path is 'cloud', but the session has no transport to reach one")
        self._profile()  # one for other weights is refused at once
        self._transport = transport
        self._session = secrets.token_hex(8)
        self._link = CloudLink(transport, self._session) if transport is not None else None
        self._number = 0
        self._resting = False
        self.reset()

    @classmethod
    def open(
        cls,
        model: str = "yolo11n",
        config: SessionConfig | None = None,
        transport: Transport | None = None,
    ) -> EdgeSession:
        """Load ``model`` by name or path and start a session with it."""
        return cls(Detector.load(model), config, transport)

    @property
    def detector(self) -> Detector:
        """The model."""
        return self.engine.detector

    def process(self, frame: Frame) -> FrameResult:
        """Infer one frame; always returns a result, made on the edge when the cloud fails."""
        with computing(compute_threads()):
            return self._process(frame)

    def _process(self, frame: Frame) -> FrameResult:
        timer = StageTimer()
        work = self._background.preempt() if self._background else BackgroundWork()
        number, self._number = self._number, self._number + 1
        with timer.stage("preprocess"):
            image, letterbox = self.detector.preprocess(frame.image)
        state = self._state_for(image)
        self._resting = self._placement.rests(self.config)
        if not self._resting:
            with timer.stage("motion"):
                state.follow(image)
        with timer.stage("candidates"):
            decision = self._placement.decide(self.config, partial(self._propose, image=image))
        result = FrameResult(
            number,
            frame.stamp_ns,
            frame.frame_id,
            Detections(),
            "edge",
            decision=decision,
            background=work,
        )
        if decision.path == "cloud":
            result = self._on_cloud(result, image, letterbox, timer)
        if result.path == "edge":
            result = self._on_edge(result, image, letterbox, timer)
        self._learn(number, result.detections, letterbox)
        assert self._background is not None
        self._background.follow(image, letterbox)
        published = result.detections.above(self.config.confidence)
        return replace(result, detections=published, stage_ms=timer.stage_ms)

    def idle(self, arrived: Callable[[], bool]) -> None:
        """Spend the time until the next frame on ``config.background``.

        Call it after :meth:`process` on the same thread. It returns as soon as ``arrived()``, which
        it asks between any two operators and while it waits, or when nothing is left to do.
        """
        if self._background is not None:
            with computing(compute_threads()):
                self._background.work(arrived, self.config)

    def reset(self) -> None:
        """Forget everything learned from earlier frames; the next one starts a new epoch."""
        self._state: RobotState | None = None
        self._background: Background | None = None
        self._placement = Placement(self._link, self.config)
        if self._link is not None:
            self._link.start_anew()

    def close(self) -> None:
        """Close the transport; further calls do nothing."""
        if self._transport is not None:
            self._transport.close()

    def _state_for(self, image: UInt8) -> RobotState:
        """Return what is remembered of frames of this size; another size starts anew."""
        size = image.shape[0], image.shape[1]
        if self._state is None or self._state.size != size:
            self._state = RobotState(self.engine, size, self.config)
            self._background = Background(self._state, self._link, self.detector.model_hash)
            if self._link is not None:
                self._link.start_anew()
        return self._state

    def _profile(self) -> ReuseProfile | None:
        return self.config.profile_of(str(self.detector.name), self.detector.model_hash)

    @property
    def _reuse(self) -> ReuseConfig | None:
        assert self._state is not None
        profile = self._profile()
        return profile.config_for(self._state.motion) if profile else self.config.reuse

    def _propose(self, side: Side, image: UInt8) -> Proposal:
        """Return what ``image`` asks of one side."""
        assert self._state is not None
        extent = partial(self._placement.extent, self.config) if side == "cloud" else None
        return self._state.propose(side, image, self._reuse, extent)

    def _learn(self, number: int, found: Detections, letterbox: Letterbox) -> None:
        """Take in what was found in frame ``number``, weak results too."""
        assert self._state is not None
        self._state.learn(found, letterbox)

    def _edge_proposal(self, state: RobotState, image: UInt8) -> Proposal:
        """Return what to compute here: the critical blocks, or all where that is sooner."""
        if not self._resting:
            proposal = self._propose("edge", image)
            if not self._placement.whole_here(self.config, proposal):
                return proposal
        return state.endpoint("edge").whole(image, SOONER_WHOLE)

    def _on_edge(
        self, result: FrameResult, image: UInt8, letterbox: Letterbox, timer: StageTimer
    ) -> FrameResult:
        """Infer ``image`` here and put what was found into ``result``."""
        assert self._state is not None
        assert self._background is not None
        start = perf_counter()
        with timer.stage("background"):
            self._background.make_way_on_edge()
        with timer.stage("candidates"):
            proposal = self._edge_proposal(self._state, image)
            seen = proposal.composed(image)
        try:
            with timer.stage("infer"):
                run = self._state.executor.execute(network_bytes(seen), proposal.schedule)
        except Exception:
            self._state.endpoint("edge").reset()
            raise
        self._state.settle("edge", proposal, seen, image)
        with timer.stage("decode"):
            found = self.detector.decode(
                run.outputs,
                letterbox,
                confidence=self.config.decode_confidence,
                iou=self.config.iou,
                offsets=run.offsets,
            )
        realised_ms = (perf_counter() - start) * 1e3
        self._placement.edge_took(run, realised_ms)
        return replace(
            result,
            path="edge",
            detections=found,
            dense_reason=run.dense_reason,
            realised_ms=realised_ms,
            compute_ratio=run.compute_ratio,
            reuse_ratio=1.0 - float(proposal.critical.mean()),
        )

    def _on_cloud(
        self, result: FrameResult, image: UInt8, letterbox: Letterbox, timer: StageTimer
    ) -> FrameResult:
        """Have the cloud infer ``image``; when the link or the cloud fails, say why and stay on
        the edge.
        """
        assert self._link is not None
        assert self._state is not None
        start, epoch = perf_counter(), self._link.epoch
        with timer.stage("candidates"):
            proposal = self._propose("cloud", image)
        try:
            exchange = self._link.infer(
                result, proposal, image, letterbox, self.detector.model_hash, self.config, timer
            )
        except LinkError as error:
            if self._link.epoch != epoch:
                self._state.endpoint("cloud").reset()
            return replace(result, fallback_reason=str(error), resyncs=self._link.resyncs)
        self._state.settle("cloud", proposal, exchange.seen, image)
        realised_ms = (perf_counter() - start) * 1e3
        self._placement.cloud_took(exchange, realised_ms)
        answer: InferenceResult = exchange.answer
        return replace(
            result,
            path="cloud",
            detections=answer.detections,
            dense_reason=proposal.dense_reason,
            realised_ms=realised_ms,
            compute_ratio=answer.compute_ratio,
            reuse_ratio=1.0 - float(proposal.critical.mean()),
            tx_bytes=exchange.tx_bytes,
            rx_bytes=exchange.rx_bytes,
            transmission_ratio=exchange.tx_bytes / image.nbytes,
            resyncs=self._link.resyncs,
        )
