"""One robot can use so much of a server and no more, through however many connections."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.server_account import Account, SessionLimitError
from fluxshard_core.offload.server_config import ServerConfig

MakeFrame = Callable[..., ShardFrame]
Handler = Callable[[ShardFrame], InferenceResult]
Serve = Callable[..., InferenceServer]
Connect = Callable[..., TcpTransport]


def _seconds(transport: TcpTransport, make_frame: MakeFrame, count: int) -> float:
    begun = time.monotonic()
    for number in range(count):
        assert transport.infer(make_frame(number), 5.0).error == ""
    return time.monotonic() - begun


def test_more_frames_than_the_rate_are_slowed_down_not_lost_and_others_are_not(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    server = serve(echo, max_frames_per_s=10.0)
    greedy, modest = connect(server.port), connect(server.port)
    assert _seconds(greedy, make_frame, 16) > 0.4
    assert _seconds(modest, make_frame, 5) < 0.4


def test_more_bytes_than_the_rate_are_slowed_down_not_lost(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    transport = connect(serve(echo, max_bytes_per_s=20_000.0).port)
    assert _seconds(transport, make_frame, 14) > 0.3  # 2.5 kB each


def test_connecting_anew_does_not_refill_the_rate_of_an_identity(
    fleet: Any, make_frame: MakeFrame, echo: Handler
) -> None:
    config = ServerConfig(max_frames_per_s=20.0)
    security = fleet.robot("robot-alice")
    begun = time.monotonic()
    with InferenceServer(echo, config=config, security=fleet.cloud()) as server:
        for number in range(30):
            with TcpTransport("localhost", server.port, security=security) as transport:
                assert transport.infer(make_frame(number), 5.0).error == ""
    assert time.monotonic() - begun > 0.4


def test_a_robot_with_too_many_sessions_is_told_so_and_keeps_those_it_has(
    serve: Serve, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    transport = connect(serve(echo, max_sessions_per_robot=2).port)
    errors = [transport.infer(make_frame(1, session=name), 5.0).error for name in "abcab"]
    assert errors[:2] + errors[3:] == [""] * 4
    assert "already has 2 sessions" in errors[2]


def test_a_session_unused_for_long_makes_room_for_another() -> None:
    account = Account("alice", ServerConfig(max_sessions_per_robot=2, session_idle_s=60.0))
    assert account.session("a", 0.0) == "alice/a"
    account.session("b", 50.0)
    with pytest.raises(SessionLimitError):
        account.session("c", 59.0)
    assert account.session("c", 61.0) == "alice/c"
    with pytest.raises(SessionLimitError):
        account.session("a", 62.0)


def test_a_peer_that_sends_nothing_for_long_is_let_go_and_a_busy_one_is_not(
    resources: ExitStack, connect: Connect, make_frame: MakeFrame, echo: Handler
) -> None:
    def slow(frame: ShardFrame) -> InferenceResult:
        time.sleep(0.6)
        return echo(frame)

    server = resources.enter_context(InferenceServer(slow, config=ServerConfig(idle_timeout_s=0.2)))
    with socket.create_connection(("127.0.0.1", server.port), 5.0) as idle:
        transport = connect(server.port)
        assert transport.infer(make_frame(1), 5.0).number == 1
        assert idle.recv(100) == b""
