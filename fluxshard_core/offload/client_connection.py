"""One established connection of the client: requests out, answers matched to who waits."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Final

from fluxshard_core.errors import InputError
from fluxshard_core.offload.client_config import ClientConfig, LinkCounters
from fluxshard_core.offload.framing import FrameProtocol, Traffic
from fluxshard_core.offload.header import Header, Kind
from fluxshard_core.offload.hello import hello
from fluxshard_core.offload.link_probe import PIECES, Echoes, padding
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.pending_request import Ticket
from fluxshard_core.offload.security import explain
from fluxshard_core.offload.transport import LinkDown, LinkError, NotSent, Probed, RemoteRefused
from fluxshard_core.offload.wire import EncodedFrame, decode_body
from fluxshard_core.offload.wire_errors import KindError, WireError

Key = tuple[str, int, int]

_REMEMBERED_ANSWERS: Final = 64
"""Answered requests known by their key, to tell an answer that comes twice from a late one."""

_log = logging.getLogger(__name__)


def request_key(message: ShardFrame | InferenceResult) -> Key:
    """Return what an answer must share with its request: session, epoch and number."""
    return message.session, message.epoch, message.number


class ClientConnection(FrameProtocol):
    """Lives on the client's event loop. ``lost`` resolves to the reason once it is over."""

    def __init__(self, config: ClientConfig, traffic: Traffic, counters: LinkCounters) -> None:
        super().__init__(config.wire_limits, traffic)
        self._loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = self._loop.create_future()
        self.proven = False  # it answered, and was not refused since
        self._counters = counters
        self._admitted: asyncio.Future[None] = self._loop.create_future()
        self._waiting: dict[Key, asyncio.Future[InferenceResult]] = {}
        self._echoes = Echoes()
        self._answered: deque[Key] = deque(maxlen=_REMEMBERED_ANSWERS)
        self._writable = asyncio.Event()
        self._writable.set()
        self._silence_limit_s = config.silence_limit_s
        self._silence_timer: asyncio.TimerHandle | None = None
        self._pinged = False
        self._unsent_bytes = 0
        self._reason = ""

    async def greet(self, proof: bytes) -> None:
        """Say hello with the token's proof, or none, and wait until the cloud answers.

        A connection that is not answered never carries a frame: a cloud that hangs, or a wire
        that only seems to be there, costs the robot no deadline.

        :raises LinkDown: when the connection is lost first.
        :raises RemoteRefused: when the cloud does not admit this robot.
        """
        self.send(hello(proof))
        await self._admitted

    async def exchange(
        self, key: Key, frame: EncodedFrame, ticket: Ticket | None = None
    ) -> InferenceResult:
        """Send one request and wait for its answer; cancelling gives the request up.

        :raises NotSent: when its ``ticket`` was withdrawn before it left.
        :raises LinkDown: when the connection is lost first.
        :raises RemoteRefused: when the server refuses the request or the connection.
        """
        if key in self._waiting:
            raise InputError(f"frame {key} is already waiting for its answer")
        answer: asyncio.Future[InferenceResult] = self._loop.create_future()
        self._waiting[key] = answer
        try:
            while not self._writable.is_set():
                await self._writable.wait()
            if not answer.done():
                if ticket is not None and not ticket.leave():
                    raise NotSent("withdrawn")
                self.send(frame)
                self._listen_for_life()
            return await answer
        finally:
            del self._waiting[key]

    async def probe(self) -> Probed | None:
        """Measure the uplink; None while a request is under way, which tells as much."""
        if self._waiting or self._echoes.busy or not self._writable.is_set():
            return None
        for number, size in zip(self._echoes.expect(), PIECES, strict=True):
            self.send(padding(number, size))
        return await self._echoes.measured()

    def hang_up(self, reason: str) -> None:
        """Close at once, dropping what was not sent; ``reason`` is what waiters are told."""
        self._reason = reason
        self.transport.abort()

    def buffer_updated(self, nbytes: int) -> None:
        """Take in bytes; any of them shows that the peer is alive."""
        self._stop_listening_for_life()
        super().buffer_updated(nbytes)
        if self._waiting:
            self._listen_for_life()

    def frame_received(self, header: Header, body: memoryview) -> None:
        """Hand an answer to who waits for it; nobody waits any more for a late one."""
        if header.kind is Kind.HELLO:
            if not self._admitted.done():
                self._admitted.set_result(None)
            return
        if header.kind is Kind.PROBE:
            self._echoes.take(header.number)
            return
        message = decode_body(header, body)
        if isinstance(message, InferenceResult):
            self._answer(message)
        elif isinstance(message, Refusal):
            self._refused(message)
        else:
            raise KindError("message kind", expected="RESULT", actual=header.kind.name)

    def stream_broken(self, error: WireError) -> None:
        """Give the connection up: what follows cannot be understood."""
        self.hang_up(f"the cloud sent something that is not a valid frame ({error})")

    def pause_writing(self) -> None:
        """Keep further requests back while the kernel takes no more."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Let requests go out again."""
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everyone who waits."""
        self._stop_listening_for_life()
        self._reason = self._reason or self._why_lost(exc)
        self._fail_all(LinkDown(self._reason))
        self._echoes.give_up()
        self._writable.set()
        if not self.lost.done():
            self.lost.set_result(self._reason)

    def _why_lost(self, error: Exception | None) -> str:
        # A peer that closes with bytes unread resets the connection: which one arrives is a race.
        closed = error is None or isinstance(error, ConnectionError)
        if closed and not self._admitted.done():
            return (
                "the cloud closed the connection before it admitted this robot: its log says why "
                "(does it know this robot's certificate?)"
            )
        if error is None:
            return "the cloud closed the connection"
        return f"the connection broke ({explain(error)})"

    def _answer(self, result: InferenceResult) -> None:
        self.proven = True
        key = request_key(result)
        waiter = self._waiting.get(key)
        if waiter is not None and not waiter.done():
            self._answered.append(key)
            waiter.set_result(result)
        elif key in self._answered:
            self._counters.duplicate_answers += 1
            _log.debug("second answer to frame %d discarded", result.number)
        else:
            self._counters.late_answers += 1
            _log.debug("late answer to frame %d discarded", result.number)

    def _refused(self, refusal: Refusal) -> None:
        error = RemoteRefused(f"the cloud refused: {refusal.reason}")
        if not refusal.session:
            self.proven = False
            self._fail_all(error)
            self.hang_up(str(error))
            return
        for (session, _, number), waiter in self._waiting.items():
            if (session, number) == (refusal.session, refusal.number) and not waiter.done():
                waiter.set_exception(error)

    def _fail_all(self, error: LinkError) -> None:
        if not self._admitted.done():
            self._admitted.set_exception(error)
            self._admitted.exception()  # who greets may have given up: no warning then
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(error)

    def _listen_for_life(self) -> None:
        """A peer that is gone without a word (power, cable) is found out by its silence, and told
        from one that only works for long by asking it for a sign of life.
        """
        if self._silence_timer is None:
            self._unsent_bytes = self.transport.get_write_buffer_size()
            self._silence_timer = self._loop.call_later(self._silence_limit_s / 2, self._silent)

    def _stop_listening_for_life(self) -> None:
        self._pinged = False
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    def _silent(self) -> None:
        self._silence_timer = None
        if self.transport.is_closing():
            return
        draining = self.transport.get_write_buffer_size() < self._unsent_bytes
        if self._pinged and not draining:
            self.hang_up(f"the cloud was silent for {self._silence_limit_s:.1f} s")
            return
        if not self._pinged:
            self._pinged = True
            self.send(hello())
        self._listen_for_life()
