"""A cloud in this process, behind the bytes that a real link would carry."""

from __future__ import annotations

import math

from fluxshard_core.cloud_service import CloudService
from fluxshard_core.offload import wire
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.session import Engine


class Answered:
    """A ``Pending`` that was answered while it was begun."""

    def __init__(self, answer: InferenceResult, size: int) -> None:
        self.size = size
        self._answer = answer

    def done(self) -> bool:
        """It is."""
        return True

    def result(self) -> InferenceResult:
        """Return the answer."""
        return self._answer

    def withdraw(self) -> bool:
        """Too late."""
        return False


class InProcessTransport:
    """Encodes, decodes and answers every request in turn; the link itself takes no time."""

    connected = available = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.tx_bytes = 0
        self.rx_bytes = 0
        self.restart()

    def restart(self) -> None:
        """Begin with a cloud that knows no robot."""
        self._service = CloudService(self._engine, idle_s=math.inf)

    def tcp_info(self) -> None:
        """No TCP here."""

    def probe(self) -> None:
        """There is no link to measure."""

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        """Answer a frame from its bytes."""
        request = bytes(wire.encode(frame))
        self.tx_bytes += len(request)
        received = wire.decode(request)
        assert isinstance(received, ShardFrame)
        answer = bytes(wire.encode(self._service.handle(received)))
        self.rx_bytes += len(answer)
        result = wire.decode(answer)
        assert isinstance(result, InferenceResult)
        return result

    def begin(self, frame: ShardFrame) -> Answered:
        """Answer a frame of background work; nothing waits for it."""
        before = self.tx_bytes
        answer = self.infer(frame, math.inf)
        return Answered(answer, self.tx_bytes - before)

    def close(self) -> None:
        """Nothing to release."""
