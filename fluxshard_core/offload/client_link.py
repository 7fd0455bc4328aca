"""The client's link: connects, notices a loss, and connects again with growing pauses."""

from __future__ import annotations

import asyncio
import logging
import ssl

from fluxshard_core.offload.backoff import Backoff
from fluxshard_core.offload.client_config import ClientConfig, LinkCounters
from fluxshard_core.offload.client_connection import ClientConnection, Key
from fluxshard_core.offload.framing import Traffic
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.pending_request import Ticket
from fluxshard_core.offload.security import ClientSecurity, explain
from fluxshard_core.offload.transport import LinkError, NotSent, Probed
from fluxshard_core.offload.wire import EncodedFrame

_log = logging.getLogger(__name__)


class ClientLink:
    """Lives on the client's event loop, where one task keeps it connected."""

    def __init__(
        self,
        host: str,
        port: int,
        config: ClientConfig,
        context: ssl.SSLContext | None,
        proof: bytes,
        server_name: str,
    ) -> None:
        self.traffic = Traffic()
        self.counters = LinkCounters()
        self.connection: ClientConnection | None = None
        self._where = f"{host} port {port}"
        self._address = (host, port)
        self._config = config
        self._context = context
        self._proof = proof
        self._server_name = server_name
        self._reason = "not connected yet"
        self._first_attempt = asyncio.Event()
        self._task = asyncio.create_task(self._maintain(), name="fluxshard-link")

    @classmethod
    async def start(
        cls, host: str, port: int, config: ClientConfig, security: ClientSecurity | None, name: str
    ) -> ClientLink:
        """Return a link that has begun to connect; call it on the loop it is to live on.

        ``name`` is the host as the user wrote it, which the cloud's certificate must contain.
        """
        if security is None:
            return cls(host, port, config, None, b"", name)
        # Only a cloud whose certificate was checked gets to see the token.
        proof = security.token.proof if security.token else b""
        return cls(host, port, config, security.context(), proof, name)

    async def exchange(
        self, key: Key, frame: EncodedFrame, ticket: Ticket | None = None
    ) -> InferenceResult:
        """Send a request and wait for the answer; only the very first attempt is waited for.

        :raises NotSent: at once when there is no connection, or if its ``ticket`` was withdrawn.
        """
        await self._first_attempt.wait()
        if self.connection is None:
            raise NotSent(f"no connection to the cloud at {self._where}: {self._reason}")
        return await self.connection.exchange(key, frame, ticket)

    async def probe(self) -> Probed | None:
        """Measure the uplink of the connection; None where there is none."""
        return None if self.connection is None else await self.connection.probe()

    async def _maintain(self) -> None:
        """Keep one connection until cancelled, then drop it."""
        backoff = Backoff(self._config.first_retry_s, self._config.max_retry_s)
        while True:
            try:
                connection = await self._connect()
            except asyncio.TimeoutError:
                self._failed("it did not answer in time")
            except (OSError, LinkError) as error:
                self._failed(explain(error))
            else:
                await self._use(connection)
                if connection.proven:
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

    def _failed(self, reason: str) -> None:
        if reason != self._reason:
            _log.warning("no connection to the cloud at %s: %s", self._where, reason)
        self._reason = reason

    async def _connect(self) -> ClientConnection:
        return await asyncio.wait_for(self._open(), self._config.connect_timeout_s)

    async def _open(self) -> ClientConnection:
        host, port = self._address
        transport, connection = await asyncio.get_running_loop().create_connection(
            lambda: ClientConnection(self._config, self.traffic, self.counters),
            host,
            port,
            ssl=self._context,
            server_hostname=self._server_name if self._context else None,
        )
        try:
            # Without a listener the kernel may pick the port itself as the source and connect the
            # socket to itself, which would also keep the server from coming back.
            if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
                raise OSError(f"nothing listens on port {port}")
            await connection.greet(self._proof)
        except BaseException:
            transport.abort()
            raise
        self.counters.connections += 1
        return connection
