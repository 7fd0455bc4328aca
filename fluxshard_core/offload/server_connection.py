"""One peer of the server: its frames in, its results out, and nothing it does hurts the others."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from functools import partial
from typing import Final

from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.framing import FrameProtocol, Traffic
from fluxshard_core.offload.header import Header, Kind
from fluxshard_core.offload.hello import HELLO_LIMITS, hello
from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.link_probe import fits, padding
from fluxshard_core.offload.log_rate import LogRate
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.security import TOKEN_VARIABLE, SecurityError, Token, certificate_name
from fluxshard_core.offload.server_account import Account
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.offload.server_peers import NoPlaceError, Peers
from fluxshard_core.offload.wire import EncodedFrame, decode_body, encode
from fluxshard_core.offload.wire_errors import KindError, WireError

_LAST_WORD_S: Final = 1.0
"""How long a refused peer has to read why."""

_REASON_CHARACTERS: Final = 500

_log = logging.getLogger(__name__)
_log.addFilter(LogRate())


class ServerConnection(FrameProtocol):
    """Lives on the server's event loop; results come back from the inference thread.

    A peer is a stranger until ``admitted`` resolves: at once when its certificate names it or the
    server asks for nothing, else with its token. From a stranger nothing but a greeting is read.
    """

    def __init__(
        self, worker: InferenceWorker, config: ServerConfig, peers: Peers, token: Token | None
    ) -> None:
        super().__init__(HELLO_LIMITS, Traffic())
        self._worker = worker
        self._config = config
        self._peers = peers
        self._token = token
        self._loop = asyncio.get_running_loop()
        self.identity = ""
        self.proven = False
        self.opened_s = self.heard_s = self._loop.time()
        self.admitted: asyncio.Future[None] = self._loop.create_future()
        self._account: Account | None = None
        self._refused = False
        self._in_flight = 0
        self._write_stalled = False
        self._throttled = False
        self._read_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._name = "?"

    @property
    def busy(self) -> bool:
        """Whether an answer is still on its way to the peer."""
        return self._in_flight > 0

    # The transport's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Find out who this is; who needs no token is admitted."""
        super().connection_made(transport)
        self._name = str(transport.get_extra_info("peername"))
        certificate = transport.get_extra_info("peercert")
        try:
            self._peers.join(self)
        except NoPlaceError as error:
            self.drop(str(error))
            return
        try:
            self.identity = certificate_name(certificate) if certificate else ""
        except SecurityError as error:
            self.refuse(str(error))
            return
        if self.identity or self._token is None:
            self._admit()

    def buffer_updated(self, nbytes: int) -> None:
        """Take in bytes, time the frame they belong to, and slow down who sends too many."""
        self.heard_s = self._loop.time()
        super().buffer_updated(nbytes)
        if self._account is not None:
            self._throttle(self._account.count_bytes(nbytes, self.heard_s))
        self._time_reading()

    def frame_received(self, header: Header, body: memoryview) -> None:
        """Take a greeting, or queue a request for the inference thread."""
        if header.kind is Kind.HELLO:
            self._greet(body)
        elif self._account is None:
            self.refuse("it must say hello first")
        elif header.kind is Kind.PROBE:
            self._echo(self._account, header)
        else:
            self._request(self._account, header, body)

    def stream_broken(self, error: WireError) -> None:
        """Answer garbage with the reason, once, and let the peer go."""
        self.refuse(f"not a valid frame: {error}")

    def pause_writing(self) -> None:
        """Give a peer that does not read its results a limited time, and read no more from it."""
        self._write_stalled = True
        self._write_timer = self._loop.call_later(
            self._config.peer_timeout_s, self.drop, "it does not read its results"
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
        self._peers.leave(self)
        self._worker.forget(self)
        self._decided()

    # Whom to serve

    def refuse(self, reason: str) -> None:
        """Send a last word, then close; nothing more the peer sends is read as a frame."""
        _log.warning("peer %s refused: %s", self._label, reason)
        self._refused = True
        self._peers.stats.turned_away += 1
        self._peers.give_up_place(self)
        self._worker.forget(self)
        self.ignore_input()
        self._hold_or_read()
        self.send(encode(Refusal(reason[:_REASON_CHARACTERS])))
        if self.transport.can_write_eof():  # not under TLS, where the peer hangs up by itself
            self.transport.write_eof()
        self._loop.call_later(_LAST_WORD_S, self.transport.abort)
        self._decided()

    def drop(self, reason: str) -> None:
        """Close at once."""
        _log.warning("peer %s dropped: %s", self._label, reason)
        self.transport.abort()

    def close(self) -> None:
        """Close once everything written has left."""
        self.transport.close()

    def _greet(self, proof: memoryview) -> None:
        """Admit a stranger who has the token; greet back, which is also a sign of life."""
        if self._account is None:
            assert self._token is not None
            if not self._token.proven_by(proof):
                wrong = "the token is wrong" if proof else "a token is needed"
                self.refuse(f"{wrong}: the robot's {TOKEN_VARIABLE} must be the server's")
                return
            self._admit()
        if self._account is not None:
            self._throttle(self._account.count_frame(self.heard_s))
            self.send(hello())

    def _echo(self, account: Account, header: Header) -> None:
        if not fits(header):
            self.refuse(f"a probe of {header.body_bytes} bytes is too long")
            return
        self._throttle(account.count_frame(self.heard_s))
        self.send(padding(header.number))

    def _admit(self) -> None:
        try:
            self._account = self._peers.admit(self, self._loop.time())
        except NoPlaceError as error:
            self.refuse(str(error))
            return
        self.allow(self._config.wire_limits)
        _log.info("peer %s admitted", self._label)
        self._decided()

    def _decided(self) -> None:
        if not self.admitted.done():
            self.admitted.set_result(None)

    @property
    def _label(self) -> str:
        return f"{self.identity} at {self._name}" if self.identity else self._name

    # Requests and answers

    def _request(self, account: Account, header: Header, body: memoryview) -> None:
        frame = decode_body(header, body)
        if not isinstance(frame, ShardFrame):
            raise KindError("message kind", expected="SHARD_FRAME", actual=header.kind.name)
        self.proven = True
        self._in_flight += 1
        self._throttle(account.count_frame(self.heard_s))
        self._hold_or_read()
        try:
            session = account.session(frame.session, self.heard_s)
            scoped = dataclasses.replace(frame, session=session)
        except FluxShardError as error:
            self._answer(frame.session, InferenceResult.failure(frame, str(error)))
            return
        self._worker.submit(self, scoped, partial(self._deliver, frame.session))

    def _deliver(self, session: str, result: InferenceResult) -> None:
        with contextlib.suppress(RuntimeError):  # the server stopped: nobody waits any more
            self._loop.call_soon_threadsafe(self._answer, session, result)

    def _answer(self, session: str, result: InferenceResult) -> None:
        self._in_flight -= 1
        self._peers.stats.frames += 1
        self._peers.stats.errors += bool(result.error)
        if self._refused or self.transport.is_closing():
            return
        self.send(self._encode(dataclasses.replace(result, session=session)))
        self._hold_or_read()

    def _encode(self, result: InferenceResult) -> EncodedFrame:
        try:
            return encode(result, self._config.wire_limits)
        except WireError as error:
            _log.error("a result of session %s cannot be sent: %s", result.session, error)
            return encode(InferenceResult.failure(result, str(error)))

    # When to read

    def _held(self) -> bool:
        full = self._in_flight >= self._config.max_in_flight
        return self._write_stalled or self._throttled or full

    def _hold_or_read(self) -> None:
        if self._held() and not self._refused:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()
        self._time_reading()

    def _throttle(self, seconds: float) -> None:
        if seconds > 0.0 and not self._throttled:
            self._throttled = True
            self._loop.call_later(seconds, self._unthrottle)
            self._hold_or_read()

    def _unthrottle(self) -> None:
        self._throttled = False
        if not self.transport.is_closing():
            self._hold_or_read()

    def _time_reading(self) -> None:
        """Run the timer exactly while a frame is arriving and the server is ready to read it."""
        if not self.mid_frame or self._held():
            if self._read_timer is not None:
                self._read_timer.cancel()
                self._read_timer = None
        elif self._read_timer is None:
            self._read_timer = self._loop.call_later(
                self._config.peer_timeout_s, self.drop, "its frame did not arrive in time"
            )
