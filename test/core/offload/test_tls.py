"""Only the fleet gets in, each robot to its own sessions, and nobody who fails disturbs the others.

Every test runs a real server and real sockets.
"""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import pytest

from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.client_config import ClientConfig
from fluxshard_core.offload.hello import hello
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.security import ClientSecurity
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.server_config import ServerConfig
from fluxshard_core.offload.transport import LinkDown, RemoteRefused
from fluxshard_core.offload.wire import encode

MakeFrame = Callable[..., ShardFrame]
Handler = Callable[[ShardFrame], InferenceResult]
Open = Callable[..., TcpTransport]


def _wait_until(condition: Callable[[], bool], within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.005)


@pytest.fixture
def secure(resources: ExitStack, echo: Handler) -> Callable[..., InferenceServer]:
    """``secure(security, host=, ...)`` starts a server with TLS."""

    def start(security: Any, host: str = "127.0.0.1", **bounds: Any) -> InferenceServer:
        config = ServerConfig(**bounds)
        server = InferenceServer(echo, host, config=config, security=security)
        return resources.enter_context(server)

    return start


@pytest.fixture
def robot(resources: ExitStack) -> Open:
    """``robot(port, security, host=, ...)`` connects with TLS, and is closed with the test."""

    def open_transport(
        port: int, security: ClientSecurity | None, host: str = "127.0.0.1", **settings: Any
    ) -> TcpTransport:
        config = ClientConfig(first_retry_s=0.02, **settings)
        return resources.enter_context(TcpTransport(host, port, config, security))

    return open_transport


def _serves(transport: TcpTransport, frame: ShardFrame) -> bool:
    result = transport.infer(frame, 5.0)
    return result.error == "" and result.session == frame.session


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_robot_with_a_certificate_of_the_fleet_is_served(
    secure: Any, robot: Open, fleet: Any, make_frame: MakeFrame, host: str
) -> None:
    server = secure(fleet.cloud(), host)
    reached_at = "::1" if host == "::1" else "localhost"
    transport = robot(server.port, fleet.robot("robot-alice"), reached_at)
    assert all(_serves(transport, make_frame(number)) for number in range(3))
    assert server.stats.robots == 1


def test_a_robot_with_the_token_is_served(
    secure: Any, robot: Open, fleet: Any, make_frame: MakeFrame
) -> None:
    server = secure(fleet.cloud(certificates=False, token=True), "0.0.0.0")
    assert _serves(robot(server.port, fleet.robot(None, fleet.token)), make_frame())


def test_a_certificate_or_the_token_is_enough_where_both_are_accepted(
    secure: Any, robot: Open, fleet: Any, make_frame: MakeFrame
) -> None:
    server = secure(fleet.cloud(token=True))
    assert _serves(robot(server.port, fleet.robot(None, fleet.token)), make_frame())
    assert _serves(robot(server.port, fleet.robot("robot-bob")), make_frame())
    neither = robot(server.port, fleet.robot(None))
    with pytest.raises(LinkDown, match="a token is needed"):
        neither.infer(make_frame(), 5.0)


def test_a_large_frame_and_its_answer_pass_tls_unchanged(
    secure: Any, robot: Open, fleet: Any, make_frame: MakeFrame
) -> None:
    server = secure(fleet.cloud())
    transport = robot(server.port, fleet.robot("robot-alice"))
    result = transport.infer(make_frame(9, ids=tuple(range(24))), 5.0)
    assert result.detections.boxes[0].tolist() == [9, len("alice/robot"), 24, 0]


# Who is not let in, by name: the security of the cloud, that of the robot, what the robot is told.
BAD: dict[str, tuple[Callable[[Any, Any], tuple[Any, Any]], str]] = {
    "the robot's certificate is of another CA": (
        lambda fleet, other: (
            fleet.cloud(),
            replace(other.robot("robot-alice"), cloud_ca=fleet.folder / "ca.crt"),
        ),
        "before it admitted this robot|connection broke",
    ),
    "the robot's certificate has expired": (
        lambda fleet, other: (fleet.cloud(), fleet.robot("robot-expired")),
        "before it admitted this robot|connection broke",
    ),
    "the robot has no certificate": (
        lambda fleet, other: (fleet.cloud(), fleet.robot(None)),
        "before it admitted this robot|connection broke",
    ),
    "the robot shows a cloud's certificate": (
        lambda fleet, other: (fleet.cloud(), fleet.robot("cloud")),
        "before it admitted this robot|connection broke",
    ),
    "the token is another fleet's": (
        lambda fleet, other: (
            fleet.cloud(certificates=False, token=True),
            fleet.robot(None, other.token),
        ),
        "the token is wrong",
    ),
    "the robot has no token": (
        lambda fleet, other: (fleet.cloud(certificates=False, token=True), fleet.robot(None)),
        "a token is needed",
    ),
    "the cloud is of another CA": (
        lambda fleet, other: (other.cloud(), fleet.robot("robot-alice")),
        "certificate was not accepted",
    ),
    "the cloud's certificate has expired": (
        lambda fleet, other: (fleet.cloud("cloud-expired"), fleet.robot("robot-alice")),
        "certificate has expired",
    ),
    "the cloud's certificate is for another host": (
        lambda fleet, other: (fleet.cloud("cloud-elsewhere"), fleet.robot("robot-alice")),
        "not valid for '127.0.0.1'",
    ),
    "the cloud shows a robot's certificate": (
        lambda fleet, other: (fleet.cloud("robot-bob"), fleet.robot("robot-alice")),
        "unsuitable certificate purpose",
    ),
    "the cloud does not speak TLS": (
        lambda fleet, other: (None, fleet.robot("robot-alice")),
        "are both ends set up for TLS",
    ),
    "the robot does not speak TLS": (
        lambda fleet, other: (fleet.cloud(), None),
        "before it admitted this robot|connection broke",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_it_is_kept_out_told_why_and_never_gets_an_answer_when(
    secure: Any, robot: Open, fleet: Any, strangers: Any, make_frame: MakeFrame, case: str
) -> None:
    settings, told = BAD[case]
    of_cloud, of_robot = settings(fleet, strangers)
    server = secure(of_cloud)
    transport = robot(server.port, of_robot)
    for number in range(3):
        begun = time.monotonic()
        with pytest.raises(LinkDown, match=told):
            transport.infer(make_frame(number), 5.0)
        assert time.monotonic() - begun < 2.0
    assert not transport.connected
    assert server.stats.frames == 0


@pytest.mark.parametrize(
    "bytes_sent", [b"GET / HTTP/1.1\r\n\r\n", bytes(4096), b"\x16\x03\x01\x02\x00" + b"\xff" * 512]
)
def test_plain_bytes_to_a_tls_port_disturb_nobody(
    secure: Any,
    robot: Open,
    fleet: Any,
    make_frame: MakeFrame,
    raw_peer: Callable[[int], socket.socket],
    caplog: pytest.LogCaptureFixture,
    bytes_sent: bytes,
) -> None:
    server = secure(fleet.cloud())
    good = robot(server.port, fleet.robot("robot-alice"))
    assert _serves(good, make_frame(1))
    peer = raw_peer(server.port)
    peer.sendall(bytes_sent)
    with suppress(ConnectionResetError):
        while peer.recv(4096):
            pass
    _wait_until(lambda: server.stats.failed_handshakes == 1)
    assert _serves(good, make_frame(2))
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_tls_older_than_1_3_is_not_spoken(secure: Any, fleet: Any) -> None:
    server = secure(fleet.cloud(certificates=False, token=True))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(fleet.folder / "ca.crt")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", server.port), 5.0) as peer,
        pytest.raises((ssl.SSLError, ConnectionResetError)),
    ):
        context.wrap_socket(peer, server_hostname="127.0.0.1")
    _wait_until(lambda: server.stats.failed_handshakes == 1)


def test_the_token_is_shown_to_no_cloud_that_is_not_verified(
    robot: Open, fleet: Any, strangers: Any, make_frame: MakeFrame
) -> None:
    heard = bytearray()
    context = strangers.cloud(certificates=False, token=True).context()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        robot(listener.getsockname()[1], fleet.robot(None, fleet.token))
        listener.settimeout(5.0)
        peer, _ = listener.accept()
        with peer, pytest.raises((ssl.SSLError, ConnectionError)):
            heard += context.wrap_socket(peer, server_side=True).recv(4096)
    assert not heard


def test_a_robot_cannot_reach_the_session_of_another_by_its_name(
    resources: ExitStack, robot: Open, fleet: Any, make_frame: MakeFrame
) -> None:
    seen: list[str] = []

    def handler(frame: ShardFrame) -> InferenceResult:
        seen.append(frame.session)
        return InferenceResult(frame.session, frame.epoch, frame.number, frame.stamp_ns)

    server = resources.enter_context(InferenceServer(handler, security=fleet.cloud()))
    alice = robot(server.port, fleet.robot("robot-alice"))
    bob = robot(server.port, fleet.robot("robot-bob"))
    frames = [make_frame(1, session="mine"), make_frame(2, session="alice/mine")]
    assert alice.infer(frames[0], 5.0).session == "mine"
    assert [bob.infer(frame, 5.0).session for frame in frames] == ["mine", "alice/mine"]
    assert seen == ["alice/mine", "bob/mine", "bob/alice/mine"]


def test_of_two_robots_with_one_identity_the_newer_is_served_and_a_third_is_not_disturbed(
    secure: Any, robot: Open, fleet: Any, make_frame: MakeFrame
) -> None:
    server = secure(fleet.cloud())
    bob = robot(server.port, fleet.robot("robot-bob"))
    assert _serves(bob, make_frame(1))
    older = robot(server.port, fleet.robot("robot-alice"), max_retry_s=60.0)
    assert _serves(older, make_frame(1))
    newer = robot(server.port, fleet.robot("robot-alice"), max_retry_s=60.0)
    assert _serves(newer, make_frame(1))
    _wait_until(lambda: not older.connected)
    ended = time.monotonic() + 1.5
    answered, unanswered = 0, 0
    while time.monotonic() < ended:
        for one in (older, newer):
            try:
                answered += _serves(one, make_frame(2))
            except (LinkDown, RemoteRefused):
                unanswered += 1
        assert _serves(bob, make_frame(3))
        time.sleep(0.01)
    assert answered
    assert unanswered
    # They take turns at a pace that slows down, instead of throwing each other out all the time.
    assert bob.counters.connections == 1
    assert 1 <= server.stats.replaced <= 12
    assert server.stats.robots <= 2
    assert "took the place" in str(older._link._reason) + str(newer._link._reason)


def test_a_robot_that_lost_its_link_without_a_word_takes_its_place_back_at_once(
    secure: Any, robot: Open, fleet: Any, make_frame: MakeFrame
) -> None:
    server = secure(fleet.cloud(), max_connections=1)
    context = fleet.robot("robot-alice").context()
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as plain:
        ghost = context.wrap_socket(plain, server_hostname="127.0.0.1")
        _wait_until(lambda: server.stats.robots == 1)
        assert _serves(robot(server.port, fleet.robot("robot-alice")), make_frame())
        ghost.close()


def test_a_stranger_who_says_nothing_is_sent_away_in_time_and_keeps_nobody_out(
    secure: Any,
    robot: Open,
    fleet: Any,
    make_frame: MakeFrame,
    raw_peer: Callable[[int], socket.socket],
) -> None:
    server = secure(
        fleet.cloud(certificates=False, token=True),
        max_connections=1,
        max_handshakes=4,
        handshake_timeout_s=0.6,
    )
    context = fleet.robot(None).context()
    silent = [raw_peer(server.port) for _ in range(4)]
    without_a_greeting = context.wrap_socket(raw_peer(server.port), server_hostname="127.0.0.1")
    begun = time.monotonic()
    assert _serves(robot(server.port, fleet.robot(None, fleet.token)), make_frame())
    assert time.monotonic() - begun < 0.6
    for peer in (*silent, without_a_greeting):
        peer.settimeout(2.0)
        with suppress(ConnectionResetError):
            assert peer.recv(100) == b""
    _wait_until(lambda: server.stats.failed_handshakes == 5)
    assert server.stats.robots == 1


def test_a_stranger_cannot_make_the_server_expect_a_large_frame(
    secure: Any, fleet: Any, make_frame: MakeFrame, read_message: Any
) -> None:
    server = secure(fleet.cloud(certificates=False, token=True))
    context = fleet.robot(None).context()
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as plain:
        peer = context.wrap_socket(plain, server_hostname="127.0.0.1")
        peer.sendall(bytes(encode(make_frame())))
        assert "at most" in read_message(peer).reason
        peer.close()
    assert server.stats.frames == 0


def test_every_greeting_is_answered_and_floods_of_them_are_slowed_down(
    secure: Any, fleet: Any
) -> None:
    server = secure(fleet.cloud(certificates=False, token=True), max_frames_per_s=50.0)
    context = fleet.robot(None).context()
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as plain:
        peer = context.wrap_socket(plain, server_hostname="127.0.0.1")
        peer.sendall(bytes(hello(fleet.token.proof)) * 80)
        answers = b""
        while len(answers) < 80 * len(hello()):
            answers += peer.recv(4096)
        peer.close()
    assert answers == bytes(hello()) * 80
    assert time.monotonic() - begun > 0.4
