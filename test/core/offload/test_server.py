"""Whatever one peer does, the server answers the others and keeps its bounds."""

from __future__ import annotations

import math
import socket
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from fluxshard_core.models.detections import Detections
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.header import HEADER_BYTES, VERSION, WireLimits
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import LinkDown, LinkError, RemoteRefused
from fluxshard_core.offload.wire import Message, encode

MakeFrame = Callable[..., ShardFrame]
Handler = Callable[[ShardFrame], InferenceResult]
Serve = Callable[..., InferenceServer]
Connect = Callable[..., TcpTransport]
RawPeer = Callable[[int], socket.socket]
ReadMessage = Callable[[socket.socket], Message]


def _assert_serves(transport: TcpTransport, frame: ShardFrame) -> None:
    assert transport.infer(frame, 5.0).detections.boxes[0, 0] == frame.number


def _assert_closed(peer: socket.socket, within_s: float) -> None:
    peer.settimeout(within_s)
    try:
        while peer.recv(65536):
            pass
    except ConnectionResetError:
        pass


def _seconds_until_dropped(peer: socket.socket, pieces: list[bytes]) -> float:
    begun = time.monotonic()
    for piece in pieces:
        try:
            peer.sendall(piece)
        except ConnectionError:
            return time.monotonic() - begun
        time.sleep(0.02)
    return math.inf


def _oversized(make_frame: MakeFrame) -> bytes:
    data = bytearray(bytes(encode(make_frame())))
    data[22:26] = (2**32 - 1).to_bytes(4, "little")
    return bytes(data)


def _other_version(make_frame: MakeFrame) -> bytes:
    data = bytearray(bytes(encode(make_frame())))
    data[4] = 9
    return bytes(data)


def _result_as_request(make_frame: MakeFrame) -> bytes:
    return bytes(encode(InferenceResult.failure(make_frame(), "not a request")))


def _garbage(make_frame: MakeFrame) -> bytes:
    return np.random.default_rng(1).bytes(300_000)


@pytest.mark.parametrize(
    ("attack", "named"),
    [
        (_garbage, "magic"),
        (_oversized, "payload length: expected at most"),
        (_other_version, f"protocol version: expected {VERSION}, got 9"),
        (_result_as_request, "message kind: expected SHARD_FRAME"),
    ],
)
def test_a_peer_that_breaks_the_protocol_is_told_why_logged_and_closed(
    serve: Serve,
    connect: Connect,
    raw_peer: RawPeer,
    read_message: ReadMessage,
    make_frame: MakeFrame,
    echo: Handler,
    caplog: pytest.LogCaptureFixture,
    attack: Callable[[MakeFrame], bytes],
    named: str,
) -> None:
    server = serve(echo)
    good = connect(server.port)
    _assert_serves(good, make_frame(1))
    peer = raw_peer(server.port)
    peer.sendall(attack(make_frame))
    refusal = read_message(peer)
    assert isinstance(refusal, Refusal)
    assert named in refusal.reason
    assert named in caplog.text
    _assert_closed(peer, within_s=3.0)
    _assert_serves(good, make_frame(2))


@pytest.mark.parametrize("sent", [1, HEADER_BYTES, 200])
def test_a_peer_that_sends_half_a_frame_is_dropped_and_nobody_waits_for_it(
    serve: Serve,
    connect: Connect,
    raw_peer: RawPeer,
    make_frame: MakeFrame,
    echo: Handler,
    sent: int,
) -> None:
    server = serve(echo, peer_timeout_s=0.4)
    good = connect(server.port)
    slow = raw_peer(server.port)
    slow.sendall(bytes(encode(make_frame()))[:sent])
    begun = time.monotonic()
    _assert_serves(good, make_frame(2))
    assert time.monotonic() - begun < 0.4
    _assert_closed(slow, within_s=2.0)
    _assert_serves(good, make_frame(3))


def test_a_trickle_of_bytes_does_not_extend_the_time_a_frame_may_take(
    serve: Serve, raw_peer: RawPeer, make_frame: MakeFrame, echo: Handler
) -> None:
    slow = raw_peer(serve(echo, peer_timeout_s=0.3).port)
    pieces = [bytes([byte]) for byte in bytes(encode(make_frame()))]
    assert _seconds_until_dropped(slow, pieces) < 5.0


def test_a_peer_that_does_not_read_its_results_is_dropped(
    serve: Serve, connect: Connect, raw_peer: RawPeer, make_frame: MakeFrame, echo: Handler
) -> None:
    def large(frame: ShardFrame) -> InferenceResult:
        if frame.session == "robot":
            return echo(frame)
        count = 2000
        found = Detections(
            np.zeros((count, 4), np.float32),
            np.zeros(count, np.float32),
            np.zeros(count, np.int32),
            keypoints=np.zeros((count, 500, 3), np.float32),
        )
        return InferenceResult(frame.session, frame.epoch, frame.number, 0, found)

    server = serve(large, peer_timeout_s=0.3)
    deaf = raw_peer(server.port)
    for number in range(3):
        deaf.sendall(bytes(encode(make_frame(number, session="deaf"))))
    good = connect(server.port)
    for number in range(5):
        _assert_serves(good, make_frame(number))
        time.sleep(0.15)
    assert _seconds_until_dropped(deaf, [bytes(1000)] * 100) < math.inf


def test_two_robots_at_once_each_get_their_own_answers(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    server = serve(echo)
    wrong: list[InferenceResult | LinkError] = []

    def robot(name: str, transport: TcpTransport, first: int) -> None:
        for number in range(first, first + 40):
            try:
                result = transport.infer(make_frame(number, session=name), 5.0)
            except LinkError as error:
                wrong.append(error)
                continue
            if result.detections.boxes[0, :2].tolist() != [number, len(name)]:
                wrong.append(result)

    one, other = connect(server.port), connect(server.port)
    threads = [
        threading.Thread(target=robot, args=("a", one, 0)),
        threading.Thread(target=robot, args=("bb", one, 1000)),
        threading.Thread(target=robot, args=("ccc", other, 0)),
        threading.Thread(target=robot, args=("dddd", other, 1000)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20.0)
    assert wrong == []


def test_a_connection_that_asks_too_much_waits_and_loses_nothing(
    serve: Serve,
    raw_peer: RawPeer,
    read_message: ReadMessage,
    make_frame: MakeFrame,
    echo: Handler,
) -> None:
    release = threading.Event()

    def gated(frame: ShardFrame) -> InferenceResult:
        assert release.wait(5.0)
        return echo(frame)

    peer = raw_peer(serve(gated, max_in_flight=4, max_waiting=4, max_sessions_per_robot=20).port)
    for number in range(20):
        peer.sendall(bytes(encode(make_frame(number, session=f"robot{number}"))))
    time.sleep(0.1)
    release.set()
    results = [read_message(peer) for _ in range(20)]
    assert sorted(result.number for result in results) == list(range(20))
    assert {result.error for result in results if isinstance(result, InferenceResult)} == {""}


def test_what_a_lost_peer_still_had_waiting_is_not_run(
    serve: Serve, connect: Connect, raw_peer: RawPeer, make_frame: MakeFrame, echo: Handler
) -> None:
    begun, release = threading.Event(), threading.Event()
    served: list[int] = []

    def gated(frame: ShardFrame) -> InferenceResult:
        served.append(frame.number)
        begun.set()
        assert release.wait(5.0)
        return echo(frame)

    server = serve(gated)
    peer = raw_peer(server.port)
    peer.sendall(bytes(encode(make_frame(1))))
    assert begun.wait(5.0)
    peer.sendall(bytes(encode(make_frame(2, session="another"))))
    peer.close()
    deadline = time.monotonic() + 5.0
    while server._peers and time.monotonic() < deadline:
        time.sleep(0.005)
    release.set()
    _assert_serves(connect(server.port), make_frame(3))
    assert served == [1, 3]


def test_a_handler_that_raises_is_an_error_of_that_frame_and_no_more(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    def handler(frame: ShardFrame) -> InferenceResult:
        if frame.number == 1:
            raise ValueError("no such model")
        return echo(frame)

    transport = connect(serve(handler).port)
    result = transport.infer(make_frame(1), 5.0)
    assert result.error == "ValueError: no such model"
    assert len(result.detections) == 0
    _assert_serves(transport, make_frame(2))


def test_a_result_too_large_to_send_is_an_error_of_that_frame(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    def handler(frame: ShardFrame) -> InferenceResult:
        if frame.number == 2:
            return echo(frame)
        count = 4096
        found = Detections(
            np.zeros((count, 4), np.float32),
            np.zeros(count, np.float32),
            np.zeros(count, np.int32),
            keypoints=np.broadcast_to(np.float32(0), (count, 1024, 3)),
        )
        return InferenceResult(frame.session, frame.epoch, frame.number, 0, found)

    transport = connect(serve(handler, wire_limits=WireLimits(max_payload_bytes=100_000)).port)
    assert "payload length" in transport.infer(make_frame(1), 5.0).error
    _assert_serves(transport, make_frame(2))


def test_beyond_the_last_place_a_peer_is_refused_until_one_is_free(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    server = serve(echo, max_connections=1)
    first = connect(server.port)
    _assert_serves(first, make_frame(1))
    second = connect(server.port, first_retry_s=0.02, max_retry_s=0.1)
    with pytest.raises((RemoteRefused, LinkDown), match="connections of this server are taken"):
        second.infer(make_frame(2), 2.0)
    _assert_serves(first, make_frame(3))
    first.close()
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        try:
            _assert_serves(second, make_frame(4))
            return
        except LinkError:
            time.sleep(0.02)
    pytest.fail("the freed place was not given to the next peer")


def test_a_peer_that_never_says_anything_loses_its_place_when_it_is_needed(
    serve: Serve, connect: Connect, raw_peer: RawPeer, make_frame: MakeFrame, echo: Handler
) -> None:
    server = serve(echo, max_connections=1, peer_timeout_s=0.1)
    raw_peer(server.port)
    time.sleep(0.15)
    _assert_serves(connect(server.port), make_frame(1))
