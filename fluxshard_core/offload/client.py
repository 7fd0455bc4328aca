"""The edge end of the TCP bridge."""

from __future__ import annotations

import concurrent.futures
import threading
from types import TracebackType

from fluxshard_core.offload.client_connection import request_key
from fluxshard_core.offload.client_link import ClientConfig, ClientLink
from fluxshard_core.offload.loop_thread import LoopThread
from fluxshard_core.offload.loopback import check_port, loopback_address
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.transport import LinkDown, LinkTimeout
from fluxshard_core.offload.wire import encode


class TcpTransport:
    """A ``Transport`` to an ``InferenceServer``; one is enough for all threads of a process.

    Connecting begins at once in the background and goes on for as long as it takes; nothing
    waits for it but an ``infer`` during the very first attempt, within its own deadline.

    :raises InputError: for a host that is not a loopback address, or a port out of range.
    """

    def __init__(self, host: str, port: int, config: ClientConfig | None = None) -> None:
        check_port(port, lowest=1)
        address = loopback_address(host)
        self._config = config or ClientConfig()
        self._lock = threading.Lock()
        self._closed = False
        self._loop_thread = LoopThread("fluxshard-client")
        self._link = self._loop_thread.submit(
            ClientLink.start(address, port, self._config)
        ).result()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.connection is not None

    @property
    def tx_bytes(self) -> int:
        """Bytes handed to the socket since the transport was made, framing included."""
        return self._link.traffic.tx_bytes

    @property
    def rx_bytes(self) -> int:
        """Bytes received since the transport was made, framing included."""
        return self._link.traffic.rx_bytes

    def infer(self, frame: ShardFrame, timeout_s: float) -> InferenceResult:
        """Send a frame and wait for its answer, at most ``timeout_s`` seconds.

        The frame's arrays must not be changed afterwards: they may still be on their way out.

        :raises LinkDown: at once without a connection, or when it breaks while waiting.
        :raises LinkTimeout: when the deadline passes first; a later answer is discarded.
        :raises RemoteRefused: when the server refuses the request or the connection.
        :raises InputError: when another thread already waits for the same frame.
        """
        encoded = encode(frame, self._config.wire_limits)
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

    def close(self) -> None:
        """Drop the connection and end the thread; calls that wait raise ``LinkDown``."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._loop_thread.stop()

    def __enter__(self) -> TcpTransport:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
