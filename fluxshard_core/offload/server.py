"""The cloud end of the TCP bridge: accepts robots and answers their frames."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import logging
import threading
from collections.abc import Callable
from types import TracebackType

from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload.addresses import check_port, listen_address
from fluxshard_core.offload.inference_worker import BatchHandler, Handler, InferenceWorker
from fluxshard_core.offload.loop_thread import LoopThread
from fluxshard_core.offload.security import ServerSecurity
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.offload.server_connection import ServerConnection
from fluxshard_core.offload.server_listener import Listener
from fluxshard_core.offload.server_peers import Peers, ServerStats

_FLUSH_S = 1.0
_SWEEPS_PER_IDLE_TIMEOUT = 8

_log = logging.getLogger(__name__)


class BindError(FluxShardError):
    """The server cannot listen on the address it was given."""


class InferenceServer:
    """Runs ``handler`` for every frame that arrives, one at a time in each lane, or ``serve`` for
    all that wait.

    The handler gets a ``ShardFrame`` and returns the ``InferenceResult`` of the same session,
    epoch and number; an exception it raises becomes the result's ``error``. Where certificates
    name the robots, the session it sees begins with that name. Use as a context manager, or
    ``start`` and ``stop``; a stopped server is not started again.

    :param host: the IP address to listen on, or ``localhost``.
    :param port: the TCP port; 0 lets the system choose (see ``port`` after ``start``).
    :param serve: answers several frames of different sessions, each as soon as it can, and says
        of each answer which frame it is of; called without frames now and then while none come.
    :param lane_of: the lane that serves a session, where not any may.
    :param security: TLS and whom to admit; without it only loopback may be listened on.
    :raises SecurityError: for an address beyond loopback without TLS and authentication, and for
        certificates that cannot be used.
    """

    def __init__(
        self,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        config: ServerConfig | None = None,
        security: ServerSecurity | None = None,
        *,
        serve: BatchHandler | None = None,
        lane_of: Callable[[str], int] | None = None,
    ) -> None:
        check_port(port)
        self._host = listen_address(host, security)
        self._port = port
        self._config = config or ServerConfig()
        self._worker = InferenceWorker(
            handler,
            self._config.max_waiting,
            serve=serve,
            max_batch=self._config.max_batch,
            lanes=self._config.lanes,
            lane_of=lane_of,
        )
        self._peers = Peers(self._config)
        self._token = security.token if security else None
        self._listener = Listener(
            self._make_peer,
            security.context() if security else None,
            self._config,
            self._peers.stats,
        )
        self._loop_thread: LoopThread | None = None
        self._stopped = threading.Event()
        self._stop_lock = threading.Lock()

    @property
    def host(self) -> str:
        """The IP address listened on."""
        return self._host

    @property
    def port(self) -> int:
        """The TCP port listened on; the one chosen by the system once started with port 0."""
        return self._port

    @property
    def stats(self) -> ServerStats:
        """A copy of the counts, as they are now."""
        return dataclasses.replace(self._peers.stats)

    def start(self) -> None:
        """Listen, and return once connections are accepted.

        :raises BindError: when the port is in use or may not be used.
        """
        loop_thread = LoopThread("fluxshard-server")
        try:
            loop_thread.submit(self._listen()).result()
        except OSError as error:
            loop_thread.stop()
            raise BindError(self._bind_failure(error)) from error
        self._worker.start()
        self._loop_thread = loop_thread
        _log.info("serving inference on %s port %d", self._host, self._port)

    def serve_forever(self) -> None:
        """Block until another thread or a signal handler's exception calls for ``stop``."""
        self._stopped.wait()

    def stop(self) -> None:
        """Stop accepting, answer the frames already accepted, close; harmless when repeated."""
        with self._stop_lock:
            loop_thread, self._loop_thread = self._loop_thread, None
            if loop_thread is not None:
                loop_thread.submit(self._listener.close()).result()
                if not self._worker.drain(self._config.drain_timeout_s):
                    _log.warning("stopped before every accepted frame was answered")
                loop_thread.submit(self._close_peers()).result()
                loop_thread.stop()
        self._stopped.set()

    def __enter__(self) -> InferenceServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _make_peer(self) -> ServerConnection:
        return ServerConnection(self._worker, self._config, self._peers, self._token)

    async def _listen(self) -> None:
        self._port = self._listener.open(self._host, self._port)
        self._sweeping = asyncio.create_task(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._config.idle_timeout_s / _SWEEPS_PER_IDLE_TIMEOUT)
            self._peers.drop_idle(asyncio.get_running_loop().time())

    async def _close_peers(self) -> None:
        """Let the last results leave, for a limited time."""
        loop = asyncio.get_running_loop()
        for peer in self._peers.everyone():
            peer.close()
        deadline = loop.time() + _FLUSH_S
        while self._peers and loop.time() < deadline:
            await asyncio.sleep(0.005)
        for peer in self._peers.everyone():
            peer.drop("the server stops")
        await asyncio.sleep(0)

    def _bind_failure(self, error: OSError) -> str:
        where = f"port {self._port} on {self._host}"
        if error.errno == errno.EADDRINUSE:
            return (
                f"{where} is already in use: stop the program that has it "
                f"(`ss -ltnp 'sport = :{self._port}'` names it) or choose another port"
            )
        if error.errno == errno.EACCES:
            return f"{where} needs root: choose a port from 1024 up"
        return f"cannot listen on {where}: {error}"
