"""One peer of the server: its frames in, its results out, and nothing it does hurts the others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Final

from fluxshard_core.offload.framing import FrameProtocol, Traffic
from fluxshard_core.offload.header import Header
from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.offload.wire import EncodedFrame, decode_body, encode
from fluxshard_core.offload.wire_errors import KindError, WireError

_LAST_WORD_S: Final = 1.0
"""How long a refused peer has to read why."""

_REASON_CHARACTERS: Final = 500

_log = logging.getLogger(__name__)


class ServerConnection(FrameProtocol):
    """Lives on the server's event loop; results come back from the inference thread."""

    def __init__(
        self, worker: InferenceWorker, config: ServerConfig, peers: set[ServerConnection]
    ) -> None:
        super().__init__(config.wire_limits, Traffic())
        self._worker = worker
        self._config = config
        self._peers = peers
        self._loop = asyncio.get_running_loop()
        self._opened_s = self._loop.time()
        self._proven = False
        self._refused = False
        self._in_flight = 0
        self._write_stalled = False
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._name = "?"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the peer, or tell it that there is no place left."""
        super().connection_made(transport)
        self._name = str(transport.get_extra_info("peername"))
        places = self._config.max_connections
        if self._admitted() >= places:
            self._evict_one_silent_peer()
        full = self._admitted() >= places
        self._peers.add(self)
        if len(self._peers) > 2 * places:
            self._drop("too many refused peers are still connected")
        elif full:
            self.refuse(f"all {places} connections of this server are taken")

    def buffer_updated(self, nbytes: int) -> None:
        """Take in bytes and time the frame they belong to."""
        super().buffer_updated(nbytes)
        self._time_reading()

    def frame_received(self, header: Header, body: bytearray) -> None:
        """Queue a request for the inference thread."""
        frame = decode_body(header, body)
        if not isinstance(frame, ShardFrame):
            raise KindError("message kind", expected="SHARD_FRAME", actual=header.kind.name)
        self._proven = True
        self._in_flight += 1
        self._hold_or_read()
        self._worker.submit(self, frame, self._deliver)

    def stream_broken(self, error: WireError) -> None:
        """Answer garbage with the reason, once, and let the peer go."""
        self.refuse(f"not a valid frame: {error}")

    def refuse(self, reason: str) -> None:
        """Send a last word, then close; nothing more the peer sends is read as a frame."""
        _log.warning("peer %s refused: %s", self._name, reason)
        self._refused = True
        self._worker.forget(self)
        self.ignore_input()
        self.send(encode(Refusal(reason[:_REASON_CHARACTERS])))
        self.transport.write_eof()
        self._loop.call_later(_LAST_WORD_S, self.transport.abort)

    def pause_writing(self) -> None:
        """Give a peer that does not read its results a limited time, and read no more from it."""
        self._write_stalled = True
        self._write_timer = self._loop.call_later(
            self._config.peer_timeout_s, self._drop, "it does not read its results"
        )
        self._hold_or_read()

    def resume_writing(self) -> None:
        """Go on reading from a peer that has caught up."""
        self._write_stalled = False
        if self._write_timer is not None:
            self._write_timer.cancel()
        self._hold_or_read()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place and forget what the peer still had waiting."""
        for timer in (self._read_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._peers.discard(self)
        self._worker.forget(self)

    def _deliver(self, result: InferenceResult) -> None:
        with contextlib.suppress(RuntimeError):  # the server stopped: nobody waits any more
            self._loop.call_soon_threadsafe(self._answer, result)

    def _answer(self, result: InferenceResult) -> None:
        self._in_flight -= 1
        if self._refused or self.transport.is_closing():
            return
        self.send(self._encode(result))
        self._hold_or_read()

    def _encode(self, result: InferenceResult) -> EncodedFrame:
        try:
            return encode(result, self._config.wire_limits)
        except WireError as error:
            _log.error("a result of session %s cannot be sent: %s", result.session, error)
            return encode(InferenceResult.failure(result, str(error)))

    def _held(self) -> bool:
        return self._write_stalled or self._in_flight >= self._config.max_in_flight

    def _hold_or_read(self) -> None:
        if self._held():
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        self._time_reading()

    def _time_reading(self) -> None:
        """Run the timer exactly while a frame is arriving and the server is ready to read it."""
        if not self.mid_frame or self._held():
            if self._read_timer is not None:
                self._read_timer.cancel()
                self._read_timer = None
        elif self._read_timer is None:
            self._read_timer = self._loop.call_later(
                self._config.peer_timeout_s, self._drop, "its frame did not arrive in time"
            )

    def _admitted(self) -> int:
        return sum(not peer._refused for peer in self._peers)

    def _evict_one_silent_peer(self) -> None:
        """A peer that has long been connected without one valid frame must not hold a place."""
        long_ago = self._loop.time() - self._config.peer_timeout_s
        for peer in self._peers:
            if not (peer._proven or peer._refused) and peer._opened_s < long_ago:
                self._peers.discard(peer)
                peer._drop("it sent no frame and its place is needed")
                return

    def _drop(self, reason: str) -> None:
        _log.warning("peer %s dropped: %s", self._name, reason)
        self.transport.abort()
