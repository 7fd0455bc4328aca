"""Probes measure the link and nothing else: bounded, in nobody's way, and worth little padding."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import pytest

from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.header import HEADER_BYTES, Header, Kind, WireLimits
from fluxshard_core.offload.link_probe import PIECES, padding
from fluxshard_core.offload.link_watch import LinkWatch
from fluxshard_core.offload.messages import InferenceResult, Refusal, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import Probed, Probing
from fluxshard_core.offload.wire import Message

Serve = Callable[..., InferenceServer]
Connect = Callable[..., TcpTransport]
Handler = Callable[[ShardFrame], InferenceResult]
Script = Callable[[socket.socket], None]


def _begin(transport: TcpTransport) -> Probing:
    deadline = time.monotonic() + 5.0
    while (probing := transport.probe()) is None:
        assert time.monotonic() < deadline, "not connected"
        time.sleep(0.005)
    return probing


def _finish(probing: Probing, within_s: float = 5.0) -> Probed | None:
    deadline = time.monotonic() + within_s
    while not probing.done():
        assert time.monotonic() < deadline, "the probe did not end in time"
        time.sleep(0.005)
    return probing.result()


def _receive_piece(peer: socket.socket) -> int:
    header = Header.unpack(peer.recv(HEADER_BYTES, socket.MSG_WAITALL), WireLimits())
    assert header.kind is Kind.PROBE
    assert len(peer.recv(header.body_bytes, socket.MSG_WAITALL)) == header.body_bytes
    return header.number


def test_a_probe_measures_and_frames_go_on(
    serve: Serve, connect: Connect, make_frame: Callable[..., ShardFrame], echo: Handler
) -> None:
    transport = connect(serve(echo).port)
    transport.infer(make_frame(100), 5.0)  # the greeting has been sent, and counted
    for number in range(3):
        before = transport.tx_bytes
        probed = _finish(_begin(transport))
        assert probed is not None
        assert probed.size == PIECES[1] + HEADER_BYTES
        assert 0 <= probed.seconds < 1
        assert transport.tx_bytes - before == sum(PIECES) + 2 * HEADER_BYTES
        assert transport.infer(make_frame(number), 5.0).number == number


def test_the_time_between_the_echoes_is_what_counts(
    scripted_cloud: Callable[[Script], int], connect: Connect
) -> None:
    def slow(peer: socket.socket) -> None:
        for pause in (0.6, 0.2):
            number = _receive_piece(peer)
            time.sleep(pause)
            peer.sendall(bytes(padding(number)))
        peer.recv(1)

    probed = _finish(_begin(connect(scripted_cloud(slow))))
    assert probed is not None
    assert 0.15 < probed.seconds < 0.59


def test_there_is_one_probe_at_a_time(
    scripted_cloud: Callable[[Script], int], connect: Connect
) -> None:
    go_on = threading.Event()

    def patient(peer: socket.socket) -> None:
        for _ in PIECES:
            number = _receive_piece(peer)
            go_on.wait(5.0)
            peer.sendall(bytes(padding(number)))
        peer.recv(1)

    transport = connect(scripted_cloud(patient))
    first, second = _begin(transport), _begin(transport)
    assert _finish(second) is None
    assert not first.done()
    go_on.set()
    assert _finish(first) is not None


def test_there_is_none_beside_a_request(
    serve: Serve, connect: Connect, make_frame: Callable[..., ShardFrame], echo: Handler
) -> None:
    release, arrived = threading.Event(), threading.Event()

    def late(frame: ShardFrame) -> InferenceResult:
        arrived.set()
        release.wait(5.0)
        return echo(frame)

    transport = connect(serve(late).port)
    asking = threading.Thread(target=lambda: transport.infer(make_frame(), 5.0))
    asking.start()
    assert arrived.wait(5.0)
    assert _finish(_begin(transport)) is None
    release.set()
    asking.join(5.0)


def test_a_probe_that_is_not_answered_ends_with_the_connection(
    scripted_cloud: Callable[[Script], int], connect: Connect
) -> None:
    gone = threading.Event()

    def hang_up(peer: socket.socket) -> None:
        _receive_piece(peer)
        gone.wait(5.0)

    transport = connect(scripted_cloud(hang_up))
    probing = _begin(transport)
    assert not probing.done()
    gone.set()
    assert _finish(probing) is None
    transport.close()
    assert transport.probe() is None


def test_a_server_refuses_one_that_is_too_long(
    serve: Serve,
    echo: Handler,
    raw_peer: Callable[[int], socket.socket],
    read_message: Callable[[socket.socket], Message],
) -> None:
    peer = raw_peer(serve(echo).port)
    header = Header(Kind.PROBE, 0, 0, 0, max(PIECES) + 1)
    peer.sendall(header.pack(WireLimits()) + bytes(header.body_bytes))
    answer = read_message(peer)
    assert isinstance(answer, Refusal)
    assert "too long" in answer.reason


class _Link:
    """A transport whose probes are done at once, or when told."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = 0
        self.finished = True

    def probe(self) -> Probing:
        self.begun += 1
        return self

    def done(self) -> bool:
        return self.finished

    def result(self) -> Probed:
        return Probed(25_000, self.seconds)


def _watch(link: _Link, bandwidth: BandwidthEstimator) -> LinkWatch:
    return LinkWatch(link, bandwidth)  # type: ignore[arg-type]


def test_a_link_that_became_fast_is_believed_at_the_second_probe() -> None:
    link, bandwidth = _Link(0.005), BandwidthEstimator()
    bandwidth.add_transfer(60_000, 1.0, 0.0)
    watch = _watch(link, bandwidth)
    watch.step(1.0, matters=True)
    watch.step(1.1, matters=True)
    assert bandwidth.bytes_per_s(1.1) < 150_000
    watch.step(1.4, matters=True)  # a second one soon, as they disagree
    watch.step(1.5, matters=True)
    assert bandwidth.bytes_per_s(1.5) == pytest.approx(5e6, rel=0.01)


@pytest.mark.parametrize(("seconds", "most"), [(0.001, 6), (0.4, 5), (2.0, 2)])
def test_probes_take_a_small_share_of_the_link(seconds: float, most: int) -> None:
    link, bandwidth = _Link(seconds), BandwidthEstimator()
    bandwidth.add_transfer(25_000, seconds, 0.0)
    watch = _watch(link, bandwidth)
    for tenth in range(100):
        watch.step(0.1 * tenth, matters=True)
    assert 1 <= link.begun <= most


def test_a_link_that_does_not_matter_is_left_alone_and_one_probe_waited_for() -> None:
    link = _Link(0.01)
    watch = _watch(link, BandwidthEstimator())
    watch.step(0.0, matters=False)
    assert link.begun == 0
    link.finished = False
    for second in range(10):
        watch.step(float(second), matters=True)
    assert link.begun == 1
