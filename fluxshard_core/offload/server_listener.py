"""The server's door: a few strangers at a time, each for a short time, whatever they do there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Final

from fluxshard_core.offload.log_rate import LogRate
from fluxshard_core.offload.security import explain
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.offload.server_connection import ServerConnection
from fluxshard_core.offload.server_peers import ServerStats

_BACKLOG: Final = 64
_RETRY_S: Final = 0.5
"""Pause when the system cannot give another socket."""

_log = logging.getLogger(__name__)
_log.addFilter(LogRate())


class Listener:
    """Accepts connections, leads each through TLS and its greeting, and counts those that fail.

    ``make_peer`` is called after the TLS handshake: until then a stranger costs a socket and a
    handshake's state, and takes no place.
    """

    def __init__(
        self,
        make_peer: Callable[[], ServerConnection],
        context: ssl.SSLContext | None,
        config: ServerConfig,
        stats: ServerStats,
    ) -> None:
        self._make_peer = make_peer
        self._context = context
        self._config = config
        self._stats = stats
        self._strangers: dict[asyncio.Task[None], None] = {}
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None

    def open(self, host: str, port: int) -> int:
        """Begin to accept on an IP address; return the port. Raises ``OSError``."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        self._socket.setblocking(False)
        self._accepting = asyncio.create_task(self._accept(self._socket))
        return int(self._socket.getsockname()[1])

    async def close(self) -> None:
        """Accept no more, and send away who was not admitted yet."""
        tasks = [task for task in (self._accepting, *self._strangers) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listening)
            except OSError as error:
                _log.error("no connection can be accepted: %s", error)
                await asyncio.sleep(_RETRY_S)
                continue
            if len(self._strangers) >= self._config.max_handshakes:
                next(iter(self._strangers)).cancel()
            task = asyncio.create_task(self._receive(connection, str(address)))
            self._strangers[task] = None
            task.add_done_callback(lambda done: self._strangers.pop(done, None))
            await asyncio.sleep(0)  # accepting may not have waited, and the others want to run

    async def _receive(self, connection: socket.socket, address: str) -> None:
        try:
            await asyncio.wait_for(self._greet(connection), self._config.handshake_timeout_s)
        except asyncio.TimeoutError:
            self._failed(address, "it did not show who it is in time")
        except OSError as error:
            self._failed(address, explain(error))
        except asyncio.CancelledError:
            self._failed(address, "others came while it did not show who it is")
            raise

    async def _greet(self, connection: socket.socket) -> None:
        # The loop owns the socket from here on, and closes it when the handshake fails.
        transport, peer = await asyncio.get_running_loop().connect_accepted_socket(
            self._make_peer,
            connection,
            ssl=self._context,
            ssl_handshake_timeout=self._config.handshake_timeout_s if self._context else None,
        )
        try:
            await peer.admitted
        except asyncio.CancelledError:
            with contextlib.suppress(OSError):
                transport.abort()
            raise

    def _failed(self, address: str, reason: str) -> None:
        self._stats.failed_handshakes += 1
        _log.warning("peer %s was not let in: %s", address, reason)
