"""The edge end of the TCP bridge."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import threading
from time import monotonic

from fluxshard_core.closing import Closing
from fluxshard_core.offload.addresses import check_port, connect_address
from fluxshard_core.offload.backoff import Backoff
from fluxshard_core.offload.circuit_breaker import Circuit, CircuitBreaker
from fluxshard_core.offload.client_config import ClientConfig, LinkCounters
from fluxshard_core.offload.client_connection import request_key
from fluxshard_core.offload.client_link import ClientLink
from fluxshard_core.offload.link_probe import PendingProbe
from fluxshard_core.offload.loop_thread import LoopThread
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.pending_request import PendingRequest, Ticket
from fluxshard_core.offload.security import ClientSecurity
from fluxshard_core.offload.tcp_info import TcpInfo, read_tcp_info
from fluxshard_core.offload.transport import LinkDown, LinkTimeout, NotSent
from fluxshard_core.offload.wire import EncodedFrame, encode


class TcpTransport(Closing):
    """A ``Transport`` to an ``InferenceServer``; one is enough for all threads of a process.

    Connecting begins at once in the background and goes on for as long as it takes; nothing
    waits for it but an ``infer`` during the very first attempt, within its own deadline.

    :param security: TLS and this robot's proof; without it only loopback may be connected to.
    :raises SecurityError: for a host beyond loopback without TLS and a proof, and for
        certificates that cannot be used.
    :raises InputError: for a port out of range.
    """

    def __init__(
        self,
        host: str,
        port: int,
        config: ClientConfig | None = None,
        security: ClientSecurity | None = None,
    ) -> None:
        check_port(port, lowest=1)
        address = connect_address(host, security)
        self._config = config or ClientConfig()
        pauses = Backoff(self._config.first_pause_s, self._config.max_pause_s)
        self._breaker = CircuitBreaker(self._config.failure_limit, pauses)
        self._lock = threading.Lock()
        self._closed = False
        self._loop_thread = LoopThread("fluxshard-client")
        link = ClientLink.start(address, port, self._config, security, host)
        try:
            self._link = self._loop_thread.submit(link).result()
        except BaseException:
            self._loop_thread.stop()
            raise

    @property
    def connected(self) -> bool:
        """Whether there is a connection now, on which the cloud answered the greeting."""
        return self._link.connection is not None

    @property
    def tx_bytes(self) -> int:
        """Bytes handed to the socket since the transport was made, framing included."""
        return self._link.traffic.tx_bytes

    @property
    def rx_bytes(self) -> int:
        """Bytes received since the transport was made, framing included."""
        return self._link.traffic.rx_bytes

    @property
    def counters(self) -> LinkCounters:
        """A copy of the counts, as they are now."""
        return dataclasses.replace(self._link.counters)

    @property
    def circuit(self) -> Circuit:
        """Whether requests are sent: not while the last ones were late or refused."""
        return self._breaker.state(monotonic())

    @property
    def available(self) -> bool:
        """Whether there is a connection and the circuit lets a request pass."""
        return self.connected and self.circuit is not Circuit.OPEN

    def tcp_info(self) -> TcpInfo | None:
        """What the kernel measured on the connection; None without one."""
        connection = self._link.connection
        if connection is None:
            return None
        socket = connection.transport.get_extra_info("socket")
        return None if socket is None else read_tcp_info(socket)

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        """Send a frame and wait for its answer, at most ``timeout_s`` seconds.

        The frame's arrays must not be changed afterwards: they may still be on their way out.

        :raises NotSent: at once without a connection or after too many failures in a row.
        :raises LinkDown: when the connection breaks while waiting.
        :raises LinkTimeout: when the deadline passes first; a later answer is discarded.
        :raises RemoteRefused: when the server refuses the request or the connection.
        :raises InputError: when another thread already waits for the same frame.
        """
        encoded = encode(frame, self._config.wire_limits)
        try:
            return self._breaker.ask(lambda: self._exchange(frame, encoded, timeout_s))
        except LinkTimeout:
            self._link.counters.timeouts += 1
            raise
        except NotSent:
            self._link.counters.not_sent += 1
            raise

    def begin(self, frame: ShardFrame) -> PendingRequest:
        """Send a frame of background work and return at once; it waits behind nothing but frames.

        :raises NotSent: without a connection, or while requests have no answer in time.
        """
        if not self.connected or self.circuit is not Circuit.CLOSED:
            raise NotSent("the cloud is not answering: no time for background work")
        encoded, ticket = encode(frame, self._config.wire_limits), Ticket()
        with self._lock:
            if self._closed:
                raise NotSent("the transport is closed")
            exchange = self._link.exchange(request_key(frame), encoded, ticket)
            return PendingRequest(ticket, self._loop_thread.submit(exchange), len(encoded))

    def probe(self) -> PendingProbe | None:
        """Begin to measure the uplink with padding; None without a connection."""
        with self._lock:
            if self._closed or not self.connected:
                return None
            return PendingProbe(self._loop_thread.submit(self._link.probe()))

    def close(self) -> None:
        """Drop the connection and end the thread; calls that wait raise ``LinkDown``."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop_thread.stop()

    def _exchange(
        self, frame: ShardFrame, encoded: EncodedFrame, timeout_s: float
    ) -> InferenceResult:
        with self._lock:
            if self._closed:
                raise LinkDown("the transport is closed")
            answer = self._loop_thread.submit(self._link.exchange(request_key(frame), encoded))
        try:
            return answer.result(timeout_s)
        except concurrent.futures.TimeoutError:
            answer.cancel()
            raise LinkTimeout(
                f"no answer to frame {frame.number} within {timeout_s * 1e3:.0f} ms"
            ) from None
        except concurrent.futures.CancelledError:
            raise LinkDown("the transport was closed while waiting") from None
