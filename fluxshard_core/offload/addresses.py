"""Where the TCP bridge may listen and connect: beyond this machine only with proof on both ends."""

from __future__ import annotations

import ipaddress

from fluxshard_core.errors import InputError
from fluxshard_core.offload.security import (
    TOKEN_VARIABLE,
    ClientSecurity,
    SecurityError,
    ServerSecurity,
)


def listen_address(host: str, security: ServerSecurity | None) -> str:
    """Return the IP address to listen on; ``localhost`` means ``127.0.0.1``.

    :raises SecurityError: for an address beyond loopback, unless robots must prove themselves.
    :raises InputError: for a host that is not an IP address; no name is looked up.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if _is_loopback(address):
        return address
    if security is None or not security.authenticates:
        raise SecurityError(_needs(host, "listening on") + _HOW_TO_LISTEN)
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise InputError(f"{host!r} is not an IP address to listen on, such as 0.0.0.0") from None


def connect_address(host: str, security: ClientSecurity | None) -> str:
    """Return the host to connect to; ``localhost`` means ``127.0.0.1``.

    :raises SecurityError: for a host beyond loopback, unless TLS and a proof are set up.
    """
    address = "127.0.0.1" if host == "localhost" else host
    if _is_loopback(address) or (address and security is not None and security.authenticates):
        return address
    raise SecurityError(_needs(host, "connecting to") + _HOW_TO_CONNECT)


def check_port(port: int, lowest: int = 0) -> None:
    """Raise ``InputError`` unless ``port`` is a TCP port number of at least ``lowest``."""
    if not lowest <= port <= 65535:
        raise InputError(f"port {port} is not within [{lowest}, 65535]")


_HOW_TO_LISTEN = (
    "give the server's certificate and key, and either require robots' certificates or set "
    f"{TOKEN_VARIABLE} (`fluxshard certs` makes a CA and certificates)"
)
_HOW_TO_CONNECT = (
    "give the CA of the cloud's certificate, and either this robot's certificate and key or "
    f"{TOKEN_VARIABLE} (`fluxshard certs` makes a CA and certificates)"
)


def _needs(host: str, doing: str) -> str:
    return f"{host!r} is not a loopback address, and {doing} any other needs TLS and a proof: "


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
