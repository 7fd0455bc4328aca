"""A server starts on a free port or says why not, and stops without losing what it accepted."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import BindError, InferenceServer
from fluxshard_core.offload.transport import LinkDown, LinkTimeout

MakeFrame = Callable[..., ShardFrame]
Handler = Callable[[ShardFrame], InferenceResult]
Serve = Callable[..., InferenceServer]
Connect = Callable[..., TcpTransport]


def test_stopping_answers_what_was_accepted_and_closes(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    begun = threading.Event()

    def slow(frame: ShardFrame) -> InferenceResult:
        begun.set()
        time.sleep(0.2)
        return echo(frame)

    server = serve(slow)
    transport = connect(server.port)
    results: list[InferenceResult] = []
    asking = threading.Thread(target=lambda: results.append(transport.infer(make_frame(5), 5.0)))
    asking.start()
    assert begun.wait(5.0)
    server.stop()
    asking.join(5.0)
    assert results[0].detections.boxes[0, 0] == 5
    with pytest.raises(LinkDown):
        transport.infer(make_frame(6), 1.0)
    server.stop()


def test_a_handler_that_hangs_does_not_keep_the_server_from_stopping(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    release = threading.Event()

    def stuck(frame: ShardFrame) -> InferenceResult:
        release.wait(10.0)
        return echo(frame)

    server = serve(stuck, drain_timeout_s=0.1)
    transport = connect(server.port)
    with pytest.raises(LinkTimeout):
        transport.infer(make_frame(1), 0.05)
    begun = time.monotonic()
    server.stop()
    assert time.monotonic() - begun < 2.0
    release.set()


def test_nothing_is_left_after_a_server_stopped(
    connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    threads = set(threading.enumerate())
    with InferenceServer(echo) as server:
        transport = connect(server.port)
        assert transport.infer(make_frame(1), 5.0).number == 1
        transport.close()
    assert set(threading.enumerate()) <= threads
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", server.port))


def test_a_port_in_use_is_named_with_what_to_do(serve: Serve, echo: Handler) -> None:
    taken = serve(echo).port
    second = InferenceServer(echo, port=taken)
    threads = set(threading.enumerate())
    with pytest.raises(BindError, match=rf"port {taken} on 127.0.0.1 is already in use: stop"):
        second.start()
    assert set(threading.enumerate()) <= threads


def test_serve_forever_returns_when_the_server_is_stopped(echo: Handler) -> None:
    server = InferenceServer(echo)
    server.start()
    threading.Timer(0.1, server.stop).start()
    begun = time.monotonic()
    server.serve_forever()
    assert 0.05 < time.monotonic() - begun < 5.0
