"""The client's link: connects, notices a loss, and connects again with growing pauses."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

from fluxshard_core.offload.backoff import Backoff
from fluxshard_core.offload.client_connection import ClientConnection, Key
from fluxshard_core.offload.framing import Traffic
from fluxshard_core.offload.header import WireLimits
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.transport import LinkDown
from fluxshard_core.offload.wire import EncodedFrame

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClientConfig:
    """Pauses between attempts double from ``first_retry_s`` to ``max_retry_s``, less a jitter.

    A connection on which a request timed out and nothing at all was heard for
    ``silence_limit_s``, which must exceed the longest inference, is closed and made again.
    """

    connect_timeout_s: float = 2.0
    first_retry_s: float = 0.05
    max_retry_s: float = 2.0
    silence_limit_s: float = 2.0
    wire_limits: WireLimits = field(default_factory=WireLimits)


class ClientLink:
    """Lives on the client's event loop, where one task keeps it connected."""

    def __init__(self, host: str, port: int, config: ClientConfig) -> None:
        self.traffic = Traffic()
        self.connection: ClientConnection | None = None
        self._where = f"{host} port {port}"
        self._address = (host, port)
        self._config = config
        self._reason = "not connected yet"
        self._first_attempt = asyncio.Event()
        self._task = asyncio.create_task(self._maintain(), name="fluxshard-link")

    @classmethod
    async def start(cls, host: str, port: int, config: ClientConfig) -> ClientLink:
        """Return a link that has begun to connect; call it on the loop it is to live on."""
        return cls(host, port, config)

    async def exchange(self, key: Key, frame: EncodedFrame) -> InferenceResult:
        """Send a request and wait for the answer; only the very first attempt is waited for.

        :raises LinkDown: at once when there is no connection.
        """
        await self._first_attempt.wait()
        if self.connection is None:
            raise LinkDown(f"no connection to the cloud at {self._where}: {self._reason}")
        return await self.connection.exchange(key, frame)

    async def _maintain(self) -> None:
        """Keep one connection until cancelled, then drop it."""
        backoff = Backoff(self._config.first_retry_s, self._config.max_retry_s)
        while True:
            try:
                connection = await self._connect()
            except (OSError, asyncio.TimeoutError) as error:
                self._reason = str(error) or "the attempt timed out"
            else:
                await self._use(connection)
                if connection.answered:
                    backoff.reset()
            self._first_attempt.set()
            await asyncio.sleep(backoff.next_delay())

    async def _use(self, connection: ClientConnection) -> None:
        self.connection = connection
        self._first_attempt.set()
        _log.info("connected to the cloud at %s", self._where)
        try:
            self._reason = await connection.lost
            _log.warning("lost the cloud at %s: %s", self._where, self._reason)
        finally:
            self.connection = None
            connection.hang_up("the transport is closed")

    async def _connect(self) -> ClientConnection:
        config = self._config
        host, port = self._address
        transport, connection = await asyncio.wait_for(
            asyncio.get_running_loop().create_connection(
                lambda: ClientConnection(config.wire_limits, self.traffic, config.silence_limit_s),
                host,
                port,
            ),
            config.connect_timeout_s,
        )
        # Without a listener the kernel may pick the port itself as the source and connect the
        # socket to itself, which would also keep the server from coming back.
        if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
            transport.abort()
            raise OSError(f"nothing listens on port {port}")
        return connection
