"""Frames leave this machine only over a link that is encrypted and authenticated."""

from __future__ import annotations

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload.addresses import connect_address, listen_address
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.security import SecurityError
from fluxshard_core.offload.server import InferenceServer

ELSEWHERE = ["0.0.0.0", "::", "", "192.168.1.4", "10.0.0.1", "example.com", "2001:db8::1", "127"]


def _never(frame: ShardFrame) -> InferenceResult:
    raise AssertionError(frame)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_any_other_address_is_refused_before_a_socket_exists(host: str) -> None:
    with pytest.raises(SecurityError, match=r"not a loopback address.*listening.*FLUXSHARD_TOKEN"):
        InferenceServer(_never, host)
    with pytest.raises(SecurityError, match=r"not a loopback address.*connecting.*FLUXSHARD_TOKEN"):
        TcpTransport(host, 7000)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("localhost", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.3.2.1", "127.3.2.1"),
        ("::1", "::1"),
    ],
)
def test_loopback_addresses_are_accepted(host: str, address: str) -> None:
    assert listen_address(host, None) == connect_address(host, None) == address


@pytest.mark.parametrize("port", [-1, 65536])
def test_ports_out_of_range_are_refused(port: int) -> None:
    with pytest.raises(InputError, match=f"port {port}"):
        InferenceServer(_never, port=port)
    with pytest.raises(InputError, match=f"port {port}"):
        TcpTransport("localhost", port)
