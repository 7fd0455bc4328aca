"""CloudLink: frames as requests to one cloud, and the proof that both ends agree on the proxy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.proxy import ProxyEncoder
from fluxshard_core.offload.transport import LinkError, RemoteRefused, Transport
from fluxshard_core.session.cloud import checksum
from fluxshard_core.session.config import FrameResult, SessionConfig
from fluxshard_core.session.endpoint import Proposal
from fluxshard_core.timing import StageTimer

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Exchange:
    """One answered request: ``seen`` is the frame as the cloud saw it, the new proxy."""

    answer: InferenceResult
    seen: UInt8
    tx_bytes: int
    rx_bytes: int


class ProxyMismatch(LinkError):  # noqa: N818
    """The cloud's pixels are not what the robot believes: its answer is not to be trusted."""


class CloudLink:
    """Sends what the cloud lacks, and only believes answers that were made from the proxy.

    Whatever goes wrong, the two ends may differ from then on: the next request is a dense one of a
    new epoch. ``resyncs`` counts those.
    """

    def __init__(self, transport: Transport, session: str) -> None:
        self._transport = transport
        self._session = session
        self._epoch = 0
        self._encoder: ProxyEncoder | None = None
        self.resyncs = 0

    def start_anew(self) -> None:
        """Begin a new epoch; its first frame must be dense."""
        self._epoch += 1
        self._encoder = None

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
            if self._encoder is None or self._encoder.codec != config.codec:
                self._encoder = ProxyEncoder(config.codec)
            shards, seen = self._encoder.encode(image, proposal.reference.image, proposal.critical)
            request = ShardFrame(
                session=self._session,
                epoch=self._epoch,
                number=frame.number,
                stamp_ns=frame.stamp_ns,
                model_hash=model_hash,
                letterbox=letterbox,
                confidence=config.decode_confidence,
                iou=config.iou,
                shards=shards,
                motion=None if proposal.first else proposal.motion,
                critical={} if proposal.first else proposal.levels,
            )
        try:
            with timer.stage("cloud"):
                answer = self._transport.infer(request, config.cloud_timeout_s)
            self._check(answer, seen)
        except LinkError:
            self.resyncs += 1
            self.start_anew()
            raise
        timer.stage_ms |= {f"cloud.{name}": spent for name, spent in answer.stage_ms.items()}
        return Exchange(
            answer,
            seen,
            self._transport.tx_bytes - tx_before,
            self._transport.rx_bytes - rx_before,
        )

    def _check(self, answer: InferenceResult, seen: UInt8) -> None:
        if answer.error:
            raise RemoteRefused(answer.error)
        if answer.checksum != checksum(seen):
            raise ProxyMismatch(
                f"the cloud computed frame {answer.number} from other pixels than it was sent"
            )
