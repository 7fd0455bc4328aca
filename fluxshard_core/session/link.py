"""CloudLink: frames as requests to one cloud, and the proof that both ends agree on the proxy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from time import monotonic, perf_counter

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import motion_packing
from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.codec_choice import CodecChooser
from fluxshard_core.offload.link_watch import LinkWatch
from fluxshard_core.offload.messages import BlockShards, InferenceResult, ShardFrame
from fluxshard_core.offload.proxy import H264, ProxyEncoder
from fluxshard_core.offload.transport import (
    LinkError,
    LinkTimeout,
    NotSent,
    Pending,
    RemoteRefused,
    Transport,
)
from fluxshard_core.session.cloud import checksum
from fluxshard_core.session.config import (
    AUTO_CODEC,
    PROXY_CODECS,
    FrameResult,
    SessionConfig,
)
from fluxshard_core.session.endpoint import Proposal
from fluxshard_core.timing import StageTimer

UInt8 = npt.NDArray[np.uint8]
_OVERHEAD_BYTES = 1500  # header, metadata, block maps and motion of a frame, roughly
_SOME_BLOCKS = 64


@dataclass(frozen=True, eq=False)
class Exchange:
    """One answered request: ``seen`` is the frame as the cloud saw it, the new proxy.

    ``compute_ms`` is what the cloud says it spent, ``link_ms`` the rest until the answer was here.
    """

    answer: InferenceResult
    seen: UInt8
    tx_bytes: int
    rx_bytes: int
    compute_ms: float
    link_ms: float


@dataclass(frozen=True, eq=False)
class Posted:
    """A piece of background work under way, to be ``seen`` by the cloud in answer to it."""

    request: Pending
    proposal: Proposal
    seen: UInt8
    codec: str
    epoch: int
    deadline_s: float


class ProxyMismatch(LinkError):  # noqa: N818
    """The cloud's pixels are not what the robot believes: its answer is not to be trusted."""


class CloudLink:
    """Sends what the cloud lacks, and only believes answers that were made from the proxy.

    Whatever goes wrong, the two ends may differ from then on: the next request is a dense one of a
    new epoch. ``resyncs`` counts those. A link that broke between two frames costs none: the
    session goes on where it was.
    """

    def __init__(self, transport: Transport, session: str) -> None:
        self._transport = transport
        self._session = session
        self.epoch = 0
        self._encoders: dict[tuple[str, float | None], ProxyEncoder] = {}
        self._codecs = CodecChooser(PROXY_CODECS)
        self._requests = -1
        self.bandwidth = BandwidthEstimator()
        self._watch = LinkWatch(transport, self.bandwidth)
        self.resyncs = 0

    @property
    def available(self) -> bool:
        """Whether it makes sense to send a frame now."""
        return self._transport.available

    def start_anew(self) -> None:
        """Begin a new epoch; its first frame must be dense."""
        self.epoch += 1
        self._encoders.clear()

    def expected_bytes(self, blocks: int, config: SessionConfig) -> int:
        """Return how many bytes a frame with so many blocks should take."""
        codec = self._codec(blocks, config)
        return _OVERHEAD_BYTES + round(self._codecs.expected_bytes(codec, blocks))

    def infer(
        self,
        frame: FrameResult,
        proposal: Proposal,
        image: UInt8,
        letterbox: Letterbox,
        model_hash: str,
        config: SessionConfig,
        timer: StageTimer,
    ) -> Exchange:
        """Send ``proposal`` for ``image`` and wait for the answer.

        :raises LinkError: if there is none, or not one to be trusted.
        """
        tx_before, rx_before = self._transport.tx_bytes, self._transport.rx_bytes
        with timer.stage("encode"):
            request, seen = self._request(proposal, image, letterbox, model_hash, config)
            request = replace(request, stamp_ns=frame.stamp_ns)
        shards = request.shards
        try:
            start = perf_counter()
            with timer.stage("cloud"):
                answer = self._transport.infer(request, config.cloud_timeout_s)
            spent_ms = (perf_counter() - start) * 1e3
            self._check(answer, seen)
        except LinkError as error:
            self._lost(error, shards.codec)
            raise
        timer.stage_ms |= {f"cloud.{name}": spent for name, spent in answer.stage_ms.items()}
        self._codecs.decoded(
            shards.codec, len(shards.ids), answer.stage_ms.get("decode_shards", 0.0)
        )
        if info := self._transport.tcp_info():
            self.bandwidth.add_tcp_info(info, monotonic())
        compute_ms = sum(answer.stage_ms.values())
        return Exchange(
            answer,
            seen,
            self._transport.tx_bytes - tx_before,
            self._transport.rx_bytes - rx_before,
            compute_ms,
            max(0.0, spent_ms - compute_ms),
        )

    def watch(self, *, matters: bool) -> None:
        """Measure the link, if that ``matters``, while a frame is computed elsewhere."""
        self._watch.step(monotonic(), matters=matters)

    def blocks_within(self, milliseconds: float, config: SessionConfig) -> int:
        """Return how many blocks leave in so much time, by the rate and sizes of late; none
        without a connection."""
        if not self._transport.connected:
            return 0
        rate = self.bandwidth.bytes_per_s(monotonic())
        codec = self._codec(_SOME_BLOCKS, config)
        block_bytes = self._codecs.expected_bytes(codec, _SOME_BLOCKS) / _SOME_BLOCKS
        return max(0, int((rate * milliseconds * 1e-3 - _OVERHEAD_BYTES) / block_bytes))

    def post(
        self,
        proposal: Proposal,
        image: UInt8,
        letterbox: Letterbox,
        model_hash: str,
        config: SessionConfig,
    ) -> Posted:
        """Send ``proposal`` as background work, and wait for nothing.

        :raises LinkError: if it cannot be sent now.
        """
        request, seen = self._request(proposal, image, letterbox, model_hash, config)
        codec, deadline_s = request.shards.codec, monotonic() + config.cloud_timeout_s
        try:
            pending = self._transport.begin(replace(request, background=True))
        except LinkError as error:
            self._lost(error, codec)
            raise
        return Posted(pending, proposal, seen, codec, self.epoch, deadline_s)

    def over(self, posted: Posted) -> bool:
        """Whether ``posted`` is answered, failed or late."""
        return posted.request.done() or monotonic() >= posted.deadline_s

    def collect(self, posted: Posted) -> None:
        """Take in what came of ``posted``, which is over.

        :raises LinkError: if the cloud does not hold what it should.
        """
        try:
            if not posted.request.done():
                raise LinkTimeout("no answer to background work in time")
            self._check(posted.request.result(), posted.seen)
        except LinkError as error:
            self._lost(error, posted.codec)
            raise

    def withdraw(self, posted: Posted) -> bool:
        """Take ``posted`` back unless it has left, or is part of a stream that goes on with it."""
        return posted.codec != H264 and posted.request.withdraw()

    def _lost(self, error: LinkError, codec: str) -> None:
        """Begin anew unless both ends still hold the same: what never left changed nothing there,
        but an H.264 stream has moved on here."""
        if not isinstance(error, NotSent) or codec == H264:
            self.resyncs += 1
            self.start_anew()

    def _request(
        self,
        proposal: Proposal,
        image: UInt8,
        letterbox: Letterbox,
        model_hash: str,
        config: SessionConfig,
    ) -> tuple[ShardFrame, UInt8]:
        """Return the message that brings ``proposal`` about, and what the cloud will see."""
        shards, seen = self._encode(image, proposal, config)
        motion = motion_packing.without(proposal.motion, proposal.whole)
        self._requests += 1
        request = ShardFrame(
            session=self._session,
            epoch=self.epoch,
            number=self._requests,
            stamp_ns=0,
            model_hash=model_hash,
            letterbox=letterbox,
            confidence=config.decode_confidence,
            iou=config.iou,
            shards=shards,
            motion=None if proposal.first else motion,
            critical={} if proposal.first else proposal.levels,
        )
        return request, seen

    def _encode(
        self, image: UInt8, proposal: Proposal, config: SessionConfig
    ) -> tuple[BlockShards, UInt8]:
        """Return the blocks to send as shards, and the frame as the cloud will see it."""
        blocks = int(np.count_nonzero(proposal.pixels))
        codec = self._codec(blocks, config)
        key = codec, config.quality if codec == config.codec else None
        if key not in self._encoders:
            self._encoders[key] = ProxyEncoder(*key)
        start = perf_counter()
        shards, seen = self._encoders[key].encode(
            image, proposal.reference.image, proposal.pixels, proposal.ease
        )
        spent_ms = (perf_counter() - start) * 1e3
        self._codecs.encoded(codec, blocks, spent_ms, len(shards.payload))
        return shards, seen

    def _codec(self, blocks: int, config: SessionConfig) -> str:
        if config.codec != AUTO_CODEC:
            return config.codec
        return self._codecs.choose(blocks, self.bandwidth.bytes_per_s(monotonic()))

    def _check(self, answer: InferenceResult, seen: UInt8) -> None:
        if answer.error:
            raise RemoteRefused(answer.error)
        if answer.checksum != checksum(seen):
            raise ProxyMismatch(
                f"the cloud computed frame {answer.number} from other pixels than it was sent"
            )
