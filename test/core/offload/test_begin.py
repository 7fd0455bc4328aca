"""Background requests: nobody waits for them, they can be taken back, and frames go past them."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import LinkDown, LinkTimeout, NotSent

MakeFrame = Callable[..., ShardFrame]
Handler = Callable[[ShardFrame], InferenceResult]
Serve = Callable[..., InferenceServer]
Connect = Callable[..., TcpTransport]


def _wait_until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def _background(frame: ShardFrame) -> ShardFrame:
    box = frame.letterbox
    critical = np.zeros((box.input_height // 16, box.input_width // 16), dtype=bool)
    return replace(frame, critical={2: critical}, background=True)


def test_what_was_begun_is_answered_while_others_wait_for_their_own(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    transport = connect(serve(echo).port)
    transport.infer(make_frame(1), 5.0)
    before = transport.tx_bytes
    pending = transport.begin(_background(make_frame(2)))
    assert transport.infer(make_frame(3), 5.0).number == 3
    _wait_until(pending.done)
    assert pending.result().number == 2
    assert transport.tx_bytes - before > pending.size > 0
    assert not pending.withdraw(), "it has left"


def test_it_is_not_sent_to_a_cloud_that_is_not_there_or_does_not_answer(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(NotSent):
        connect(port).begin(_background(make_frame()))
    release = threading.Event()

    def late(frame: ShardFrame) -> InferenceResult:
        release.wait(5.0)
        return echo(frame)

    transport = connect(serve(late).port, failure_limit=1, first_pause_s=5.0)
    with pytest.raises(LinkTimeout):
        transport.infer(make_frame(1), 0.1)
    with pytest.raises(NotSent):
        transport.begin(_background(make_frame(2)))
    release.set()


def test_what_the_network_does_not_take_can_be_taken_back(
    scripted_cloud: Callable[[Callable[[socket.socket], None]], int],
    connect: Connect,
    make_frame: MakeFrame,
) -> None:
    """The cloud reads nothing: a large frame fills the kernel's buffers, the next ones wait."""
    done = threading.Event()
    transport = connect(scripted_cloud(lambda peer: done.wait(10.0) and None), failure_limit=9)
    _wait_until(lambda: transport.connected)
    large = replace(
        make_frame(1),
        shards=replace(make_frame(1).shards, payload=np.zeros(32 * 2**20, np.uint8)),
    )
    with pytest.raises(LinkTimeout):
        transport.infer(large, 0.3)
    sent = transport.tx_bytes
    pending = transport.begin(_background(make_frame(2)))
    time.sleep(0.05)
    assert not pending.done()
    assert pending.withdraw()
    _wait_until(pending.done)
    with pytest.raises(LinkDown):
        pending.result()
    assert transport.tx_bytes == sent
    done.set()


def test_what_is_under_way_when_the_transport_closes_is_over(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    release = threading.Event()

    def late(frame: ShardFrame) -> InferenceResult:
        release.wait(5.0)
        return echo(frame)

    transport = connect(serve(late).port)
    _wait_until(lambda: transport.connected)
    pending = transport.begin(_background(make_frame(1)))
    transport.close()
    _wait_until(pending.done)
    with pytest.raises(LinkDown):
        pending.result()
    release.set()
