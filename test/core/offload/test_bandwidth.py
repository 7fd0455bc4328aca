"""The estimate follows real transfers, fades while the link rests, and never divides by nothing."""

from __future__ import annotations

import math
import socket
import struct
import time

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload.bandwidth import BandwidthConfig, BandwidthEstimator
from fluxshard_core.offload.tcp_info import TcpInfo, parse_tcp_info, read_tcp_info

FAST, SLOW = 10e6, 1e6


def _steady(rate: float, count: int = 30, **settings: float) -> BandwidthEstimator:
    estimator = BandwidthEstimator(BandwidthConfig(**settings))  # type: ignore[arg-type]
    for _ in range(count):
        estimator.add_transfer(100_000, 100_000 / rate, 0.0)
    return estimator


def test_an_unmeasured_link_is_assumed_to_be_as_configured() -> None:
    estimator = BandwidthEstimator(BandwidthConfig(assumed=5e6))
    assert estimator.bytes_per_s(0.0) == pytest.approx(5e6)
    assert estimator.transfer_s(1e6, 0.0) == pytest.approx(0.2)


def test_the_first_transfer_replaces_the_assumption() -> None:
    assert _steady(FAST, count=1).bytes_per_s(0.0) == pytest.approx(FAST)


def test_a_link_that_slows_down_is_noticed_within_five_transfers() -> None:
    estimator = _steady(FAST)
    for step in range(5):
        estimator.add_transfer(100_000, 0.1, 0.1 * step)
    assert estimator.bytes_per_s(0.4) < 1.3 * SLOW


def test_a_long_transfer_is_believed_at_once() -> None:
    estimator = _steady(FAST)
    estimator.add_transfer(60_000, 2.0, 0.0)
    assert estimator.bytes_per_s(0.0) == pytest.approx(30_000, rel=0.05)


def test_another_link_is_believed_at_the_second_transfer_and_an_accident_is_not() -> None:
    estimator = _steady(SLOW)
    estimator.add_transfer(100_000, 0.01, 0.0)
    assert estimator.doubtful
    assert estimator.bytes_per_s(0.0) < 2 * SLOW
    estimator.add_transfer(100_000, 0.1, 0.0)  # as before
    assert not estimator.doubtful
    for _ in range(2):
        estimator.add_transfer(100_000, 0.01, 0.0)
    assert estimator.bytes_per_s(0.0) == pytest.approx(FAST)
    assert not estimator.doubtful


def test_a_probe_has_no_round_trip_in_it() -> None:
    estimator = BandwidthEstimator()
    estimator.add_tcp_info(TcpInfo(0.05, 0.04, 0.0, True), 0.0)
    estimator.add_probe(25_000, 0.02, 0.0)
    assert estimator.bytes_per_s(0.0) == pytest.approx(1.25e6)
    with pytest.raises(InputError, match="learned from"):
        estimator.add_probe(0, 0.02, 0.0)


def test_small_messages_say_nothing_of_bandwidth() -> None:
    estimator = _steady(FAST)
    estimator.add_transfer(200, 1.0, 0.0)
    assert estimator.bytes_per_s(0.0) == pytest.approx(FAST)


def test_the_round_trip_is_not_taken_for_bandwidth() -> None:
    estimator = BandwidthEstimator()
    estimator.add_tcp_info(TcpInfo(0.05, 0.04, 0.0, True), 0.0)
    estimator.add_transfer(1_000_000, 0.14, 0.0)
    assert estimator.bytes_per_s(0.0) == pytest.approx(FAST)
    assert estimator.transfer_s(1_000_000, 0.0) == pytest.approx(0.14)


def test_a_transfer_shorter_than_the_round_trip_stays_finite() -> None:
    estimator = BandwidthEstimator()
    estimator.add_tcp_info(TcpInfo(0.05, 0.04, 0.0, True), 0.0)
    estimator.add_transfer(1_000_000, 0.01, 0.0)
    assert 0 < estimator.bytes_per_s(0.0) < math.inf


def test_what_was_measured_fades_by_half_in_each_half_life_of_rest() -> None:
    estimator = _steady(SLOW, assumed=1e6 / 3, half_life_s=10.0)
    at = [1.0 / estimator.bytes_per_s(rest) * 1e6 for rest in (0.0, 10.0, 20.0, 1000.0)]
    assert at == pytest.approx([1.0, 2.0, 2.5, 3.0])


def test_a_clock_that_went_back_changes_nothing() -> None:
    assert _steady(FAST).bytes_per_s(-100.0) == pytest.approx(FAST)


@pytest.mark.parametrize(
    ("rate", "app_limited", "expected"),
    [(1e6, True, FAST), (1e8, True, 1.37e7), (1e6, False, 2.7e6)],
    ids=["idle sender below", "idle sender above", "full path"],
)
def test_the_kernels_rate_counts_unless_the_sender_could_not_fill_the_path(
    rate: float, app_limited: bool, expected: float
) -> None:
    estimator = _steady(FAST)
    estimator.add_tcp_info(TcpInfo(0.01, 0.01, rate, app_limited), 0.0)
    assert estimator.bytes_per_s(0.0) == pytest.approx(expected, rel=0.02)


def test_reset_forgets_the_network() -> None:
    estimator = _steady(FAST)
    estimator.reset()
    assert estimator.bytes_per_s(3.0) == pytest.approx(BandwidthConfig().assumed)


@pytest.mark.parametrize(("size", "seconds"), [(-1, 1.0), (10, -1.0), (10, math.nan)])
def test_impossible_transfers_are_refused(size: int, seconds: float) -> None:
    with pytest.raises(InputError, match="learned from"):
        BandwidthEstimator().add_transfer(size, seconds, 0.0)


@pytest.mark.parametrize(
    "settings",
    [
        {"assumed": 0.0},
        {"weight": 1.5},
        {"half_life_s": math.inf},
        {"min_bytes": -1},
        {"change": 0.5},
    ],
    ids=str,
)
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))):
        BandwidthConfig(**settings)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux tells")
def test_the_kernel_tells_of_a_real_connection() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sender,
        server.accept()[0] as receiver,
    ):
        sender.sendall(bytes(100_000))
        left = 100_000
        while left:
            left -= len(receiver.recv(left))
        deadline = time.monotonic() + 5.0
        while (info := read_tcp_info(sender)) is None and time.monotonic() < deadline:
            time.sleep(0.01)
    assert info is not None
    assert 0 < info.min_rtt_s <= info.rtt_s < 1.0
    assert info.delivery_rate > 1e5


def test_a_socket_that_is_not_tcp_tells_nothing() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        assert read_tcp_info(datagrams) is None


def test_an_old_kernels_short_answer_or_an_unused_connection_tells_nothing() -> None:
    assert parse_tcp_info(bytes(104)) is None
    unused = bytearray(256)
    struct.pack_into("=I", unused, 148, 2**32 - 1)
    assert parse_tcp_info(bytes(unused)) is None
