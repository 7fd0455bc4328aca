"""A client's ``infer`` ends in time with the right answer or the right error, whatever happens."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import shard_codec
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import LinkDown, LinkTimeout
from fluxshard_core.offload.wire import encode

MakeFrame = Callable[..., ShardFrame]
Handler = Callable[[ShardFrame], InferenceResult]
Serve = Callable[..., InferenceServer]
Connect = Callable[..., TcpTransport]


def _wait_until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def test_without_a_server_infer_says_so_at_once(connect: Connect, make_frame: MakeFrame) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    transport = connect(port)
    for _ in range(3):
        begun = time.monotonic()
        with pytest.raises(LinkDown, match=f"127.0.0.1 port {port}"):
            transport.infer(make_frame(), 5.0)
        assert time.monotonic() - begun < 1.0
    assert not transport.connected
    assert transport.tx_bytes == 0


def test_a_server_that_comes_later_is_found_without_being_asked(
    connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    transport = connect(port, first_retry_s=0.02, max_retry_s=0.1)
    with pytest.raises(LinkDown):
        transport.infer(make_frame(), 1.0)
    with InferenceServer(echo, port=port):
        _wait_until(lambda: transport.connected)
        assert transport.infer(make_frame(2), 5.0).number == 2


def test_a_late_answer_is_discarded_and_the_next_frame_gets_its_own(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    release = threading.Event()

    def slow_once(frame: ShardFrame) -> InferenceResult:
        if frame.number == 1:
            release.wait(5.0)
        return echo(frame)

    transport = connect(serve(slow_once).port)
    begun = time.monotonic()
    with pytest.raises(LinkTimeout, match="frame 1 within 100 ms"):
        transport.infer(make_frame(1), 0.1)
    assert 0.1 <= time.monotonic() - begun < 1.0
    release.set()
    result = transport.infer(make_frame(2), 5.0)
    assert result.detections.boxes[0, 0] == 2


def test_a_cloud_that_reads_nothing_does_not_pile_up_frames(
    scripted_cloud: Callable[[Callable[[socket.socket], None]], int],
    connect: Connect,
    make_frame: MakeFrame,
) -> None:
    image = np.zeros((1024, 1024, 3), np.uint8)
    shards = shard_codec.encode(image, shard_codec.all_blocks(1024, 1024))
    frame = dataclasses.replace(make_frame(), letterbox=Letterbox.fit(1024, 1024), shards=shards)
    done = threading.Event()
    port = scripted_cloud(lambda peer: done.wait(10.0) and None)
    transport = connect(port, silence_limit_s=60.0, failure_limit=99)
    _wait_until(lambda: transport.connected)
    for number in range(12):
        with pytest.raises(LinkTimeout):
            transport.infer(dataclasses.replace(frame, number=number), 0.03)
    assert transport.connected
    assert transport._link.connection is not None
    assert transport._link.connection.transport.get_write_buffer_size() <= len(encode(frame))
    done.set()


def test_the_same_frame_is_not_asked_for_twice_at_once(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    release, begun = threading.Event(), threading.Event()

    def stuck(frame: ShardFrame) -> InferenceResult:
        begun.set()
        release.wait(5.0)
        return echo(frame)

    transport = connect(serve(stuck).port)
    asking = threading.Thread(target=lambda: transport.infer(make_frame(1), 5.0))
    asking.start()
    assert begun.wait(5.0)
    with pytest.raises(InputError, match="already waiting"):
        transport.infer(make_frame(1), 1.0)
    release.set()
    asking.join(5.0)


def test_traffic_is_counted_with_its_framing(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    transport = connect(serve(echo).port)
    frame = make_frame()
    transport.infer(frame, 5.0)
    tx_bytes, rx_bytes = transport.tx_bytes, transport.rx_bytes
    transport.infer(frame, 5.0)
    assert transport.tx_bytes - tx_bytes == len(encode(frame))
    assert 100 < transport.rx_bytes - rx_bytes < 1000


def test_closing_wakes_who_waits_and_leaves_no_thread_and_no_socket(
    serve: Serve, make_frame: MakeFrame, echo: Handler
) -> None:
    release, begun = threading.Event(), threading.Event()

    def stuck(frame: ShardFrame) -> InferenceResult:
        begun.set()
        release.wait(5.0)
        return echo(frame)

    server = serve(stuck)
    threads = set(threading.enumerate())
    transport = TcpTransport("localhost", server.port)
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            transport.infer(make_frame(), 5.0)
        except LinkDown as error:
            errors.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    assert begun.wait(5.0)
    transport.close()
    transport.close()
    asking.join(5.0)
    assert "closed" in str(errors[0])
    assert set(threading.enumerate()) <= threads
    with pytest.raises(LinkDown, match="closed"):
        transport.infer(make_frame(2), 1.0)
    release.set()


def test_opening_and_closing_many_times_leaks_no_descriptor(
    serve: Serve, make_frame: MakeFrame, echo: Handler
) -> None:
    server = serve(echo)

    def once() -> None:
        with TcpTransport("127.0.0.1", server.port) as transport:
            transport.infer(make_frame(), 5.0)

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    once()
    _wait_until(lambda: not server._peers)
    before = descriptors()
    for _ in range(10):
        once()
    _wait_until(lambda: descriptors() <= before)
