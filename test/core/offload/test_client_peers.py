"""A cloud that misbehaves in every way a script can: the client believes only its own answers."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest

from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import LinkDown, LinkTimeout, RemoteRefused
from fluxshard_core.offload.wire import Message, encode

MakeFrame = Callable[..., ShardFrame]
Connect = Callable[..., TcpTransport]
ReadMessage = Callable[[socket.socket], Message]
Script = Callable[[socket.socket], None]


def _wait_until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


def test_answers_of_another_session_epoch_or_frame_and_duplicates_are_not_believed(
    scripted_cloud: Callable[[Script], int],
    connect: Connect,
    make_frame: MakeFrame,
    read_message: ReadMessage,
) -> None:
    def script(peer: socket.socket) -> None:
        while True:
            asked = read_message(peer)
            assert isinstance(asked, ShardFrame)
            for session, epoch, number, stamp in (
                ("other", asked.epoch, asked.number, 1),
                (asked.session, asked.epoch - 1, asked.number, 2),
                (asked.session, asked.epoch, asked.number + 1, 3),
                (asked.session, asked.epoch, asked.number, 4),
                (asked.session, asked.epoch, asked.number, 5),
            ):
                peer.sendall(bytes(encode(InferenceResult(session, epoch, number, stamp))))

    transport = connect(scripted_cloud(script))
    for number in range(5):
        assert transport.infer(make_frame(number), 5.0).stamp_ns == 4


def test_a_cloud_that_sends_garbage_is_left(
    scripted_cloud: Callable[[Script], int],
    connect: Connect,
    make_frame: MakeFrame,
    read_message: ReadMessage,
) -> None:
    def script(peer: socket.socket) -> None:
        read_message(peer)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 10)

    transport = connect(scripted_cloud(script))
    begun = time.monotonic()
    with pytest.raises(LinkDown, match=r"not a valid frame.*magic"):
        transport.infer(make_frame(), 5.0)
    assert time.monotonic() - begun < 1.0


def test_a_connection_cut_in_the_middle_of_an_answer_is_noticed_at_once(
    scripted_cloud: Callable[[Script], int],
    connect: Connect,
    make_frame: MakeFrame,
    read_message: ReadMessage,
) -> None:
    def script(peer: socket.socket) -> None:
        asked = read_message(peer)
        assert isinstance(asked, ShardFrame)
        peer.sendall(bytes(encode(InferenceResult.failure(asked, "x")))[:-1])

    transport = connect(scripted_cloud(script))
    begun = time.monotonic()
    with pytest.raises(LinkDown):
        transport.infer(make_frame(), 5.0)
    assert time.monotonic() - begun < 1.0


def test_a_refused_request_is_told_apart_from_a_lost_link(
    scripted_cloud: Callable[[Script], int],
    connect: Connect,
    make_frame: MakeFrame,
    read_message: ReadMessage,
) -> None:
    def script(peer: socket.socket) -> None:
        asked = read_message(peer)
        peer.sendall(bytes(encode(Refusal("another model", asked.session, asked.number))))
        time.sleep(0.2)

    transport = connect(scripted_cloud(script))
    with pytest.raises(RemoteRefused, match="another model"):
        transport.infer(make_frame(), 5.0)


def test_a_cloud_that_goes_silent_is_left_and_found_again(
    scripted_cloud: Callable[[Script], int],
    connect: Connect,
    make_frame: MakeFrame,
    read_message: ReadMessage,
) -> None:
    connections = 0

    def script(peer: socket.socket) -> None:
        nonlocal connections
        connections += 1
        while connections == 1 and peer.recv(65536):
            pass
        while connections > 1:
            asked = read_message(peer)
            peer.sendall(bytes(encode(InferenceResult(asked.session, 3, asked.number, 0))))

    port = scripted_cloud(script)
    transport = connect(port, silence_limit_s=0.15, first_retry_s=0.02)
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        try:
            assert transport.infer(make_frame(), 0.1).session == "robot"
            break
        except (LinkTimeout, LinkDown):
            time.sleep(0.02)
    assert connections == 2


def test_a_cloud_that_works_for_long_but_is_alive_is_waited_for(
    serve: Callable[..., InferenceServer],
    connect: Connect,
    make_frame: MakeFrame,
    echo: Callable[[ShardFrame], InferenceResult],
) -> None:
    def slow(frame: ShardFrame) -> InferenceResult:
        time.sleep(0.8)
        return echo(frame)

    transport = connect(serve(slow).port, silence_limit_s=0.2)
    with pytest.raises(LinkTimeout):
        transport.infer(make_frame(1), 0.4)
    assert transport.infer(make_frame(2), 5.0).number == 2
    assert transport.counters.connections == 1


def test_a_cloud_that_answered_is_returned_to_without_a_growing_pause(
    scripted_cloud: Callable[[Script], int],
    connect: Connect,
    make_frame: MakeFrame,
    read_message: ReadMessage,
) -> None:
    def script(peer: socket.socket) -> None:
        asked = read_message(peer)
        assert isinstance(asked, ShardFrame)
        answer = InferenceResult(asked.session, asked.epoch, asked.number, asked.stamp_ns)
        peer.sendall(bytes(encode(answer)))  # one each

    transport = connect(scripted_cloud(script), first_retry_s=0.02, max_retry_s=60.0)
    begun = time.monotonic()
    for number in range(8):
        assert transport.infer(make_frame(number), 5.0).number == number
        _wait_until(lambda: not transport.connected)
        _wait_until(lambda: transport.connected)
    assert time.monotonic() - begun < 2.0


def test_a_cloud_that_hangs_up_at_once_is_not_hammered(
    scripted_cloud: Callable[[Script], int], connect: Connect
) -> None:
    calls = []
    begun = time.monotonic()
    connect(scripted_cloud(lambda peer: calls.append(peer)), first_retry_s=0.05)
    _wait_until(lambda: len(calls) >= 2)
    time.sleep(max(0.0, begun + 0.5 - time.monotonic()))
    assert len(calls) <= 6
