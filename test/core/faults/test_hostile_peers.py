"""Whatever strangers send to a cloud, its robots go on, it stays up and it does not grow.

``FLUXSHARD_FUZZ_EXAMPLES`` sets how many damaged frames are sent (default 150); from 1000 on frames
are also cut at every byte, which the decoder's own tests always do.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import pytest

EXAMPLES = int(os.environ.get("FLUXSHARD_FUZZ_EXAMPLES", "150"))
MAX_GROWTH = 24 * 2**20
Check = Callable[[list[dict[str, Any]]], None]


def _send(port: int, data: bytes) -> None:
    """Send what fits, wait for nothing, and hang up."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0) as peer:
        peer.sendall(data)


def _damaged(frames: list[bytes], rng: np.random.Generator) -> bytes:
    """Several frames one after another, with bytes changed, cut out and cut off."""
    data = bytearray(b"".join(frames[i] for i in rng.integers(0, len(frames), 3)))
    for _ in range(rng.integers(0, 6)):
        data[rng.integers(0, len(data))] = rng.integers(0, 256)
    if rng.random() < 0.5:
        start = rng.integers(0, len(data))
        del data[start : start + rng.integers(1, 64)]
    return bytes(data[: rng.integers(1, len(data) + 1)])


@pytest.fixture
def served(nursery: Any) -> tuple[Any, int, Any]:
    """A cloud, its port, and a robot it serves."""
    cloud, port = nursery.cloud(config={"peer_timeout_s": 0.5, "handshake_timeout_s": 0.5})
    robot = nursery.robot(port, timeout_s=5.0, pause_s=0.02)
    robot.wait_for("cloud", 3)
    return cloud, port, robot


def _undisturbed(served: tuple[Any, int, Any], assert_right: Check) -> None:
    cloud, _, robot = served
    robot.wait_for("cloud", 2)
    frames = robot.finish()
    assert_right(frames)
    assert all(frame["path"] == "cloud" for frame in frames), "the robot was disturbed"
    assert "Traceback" not in cloud.errors


def test_damaged_frames(
    served: tuple[Any, int, Any], assert_right: Check, frames_of_every_kind: dict[str, bytes]
) -> None:
    cloud, port, _ = served
    rng = np.random.default_rng(11)
    frames = list(frames_of_every_kind.values())
    for _ in range(30):
        _send(port, _damaged(frames, rng))
    before = cloud.memory
    for _ in range(EXAMPLES):
        _send(port, _damaged(frames, rng))
    _undisturbed(served, assert_right)
    assert cloud.memory - before < MAX_GROWTH


def test_every_kind_of_frame_cut_anywhere(
    served: tuple[Any, int, Any], assert_right: Check, frames_of_every_kind: dict[str, bytes]
) -> None:
    cloud, port, _ = served
    before = cloud.memory
    for data in frames_of_every_kind.values():
        for end in range(0, len(data), 1 if EXAMPLES >= 1000 else 13):
            _send(port, data[:end])
    _undisturbed(served, assert_right)
    assert cloud.memory - before < MAX_GROWTH


def test_lengths_beyond_every_cap_and_honest_ones_never_filled(
    served: tuple[Any, int, Any], assert_right: Check, frames_of_every_kind: dict[str, bytes]
) -> None:
    cloud, port, _ = served
    before = cloud.memory
    with ExitStack() as open_peers:
        for session, metadata, payload in (
            (2**16 - 1, 0, 0),
            (0, 2**32 - 1, 0),
            (0, 0, 2**32 - 1),
            (4, 64 * 1024, 64 * 2**20),  # allowed: what never comes must cost nothing
            (4, 64 * 1024, 64 * 2**20),
            (4, 64 * 1024, 64 * 2**20),
        ):
            head = bytearray(frames_of_every_kind["SHARD_FRAME"][:26])
            head[16:26] = (
                session.to_bytes(2, "little")
                + metadata.to_bytes(4, "little")
                + payload.to_bytes(4, "little")
            )
            peer = socket.create_connection(("127.0.0.1", port), 5.0)
            open_peers.enter_context(peer).sendall(head)
        time.sleep(0.2)
        assert cloud.memory - before < MAX_GROWTH
        _undisturbed(served, assert_right)


def _trickle(peers: list[socket.socket], data: bytes, seconds: float) -> int:
    """Send a byte at a time to each peer; return how many were sent away meanwhile."""
    alive, ended = list(peers), time.monotonic() + seconds
    for byte in data:
        if not alive or time.monotonic() > ended:
            break
        for peer in list(alive):
            try:
                peer.sendall(bytes([byte]))
            except OSError:
                alive.remove(peer)
        time.sleep(0.03)
    return len(peers) - len(alive)


def test_slow_senders_are_sent_away_and_the_robot_never_waits_for_them(
    served: tuple[Any, int, Any], assert_right: Check, frames_of_every_kind: dict[str, bytes]
) -> None:
    _, port, _ = served
    with ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5.0))
            for _ in range(8)
        ]
        assert _trickle(peers, frames_of_every_kind["SHARD_FRAME"], 2.0) == len(peers)
    _undisturbed(served, assert_right)


def test_slow_strangers_at_a_tls_port_keep_no_robot_out(
    nursery: Any, fleet: Any, assert_right: Check
) -> None:
    file = {name: str(fleet.folder / name) for name in ("cloud.crt", "cloud.key", "ca.crt")}
    limits = {"max_connections": 2, "max_handshakes": 4, "handshake_timeout_s": 0.5}
    cloud, port = nursery.cloud(
        tls=[file["cloud.crt"], file["cloud.key"], file["ca.crt"], True], config=limits
    )
    outgoing = ssl.MemoryBIO()
    greeting = (
        fleet.robot("robot-bob")
        .context()
        .wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    )
    with suppress(ssl.SSLWantReadError):
        greeting.do_handshake()
    client_hello = outgoing.read()
    tls = [file["ca.crt"], *(str(fleet.folder / f"robot-alice.{end}") for end in ("crt", "key"))]
    with ExitStack() as stack:
        peers = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), 5.0))
            for _ in range(12)
        ]
        robot = nursery.robot(port, tls=tls, timeout_s=5.0, client={"first_retry_s": 0.02})
        sent_away = _trickle(peers, client_hello, 1.5)
        robot.wait_for("cloud", 2)
        assert sent_away == len(peers)
    assert_right(robot.finish())
    assert "Traceback" not in cloud.errors


def test_robots_that_come_and_go_leave_nothing_behind(
    served: tuple[Any, int, Any], assert_right: Check, frames_of_every_kind: dict[str, bytes]
) -> None:
    cloud, port, _ = served
    data = frames_of_every_kind["SHARD_FRAME"]
    place = data.index(b"robot")
    for round_ in range(120):
        if round_ == 40:
            before = cloud.memory
        session = b"r%04d" % round_
        _send(port, data[:place] + session + data[place + 5 :])
    _undisturbed(served, assert_right)
    assert cloud.memory - before < MAX_GROWTH
