"""The only addresses allowed until the link is authenticated and encrypted."""

from __future__ import annotations

import ipaddress

from fluxshard_core.errors import InputError


def loopback_address(host: str) -> str:
    """Return the IP address to use for a loopback ``host``: ``localhost`` means ``127.0.0.1``.

    :raises InputError: for every other host; no name is looked up.
    """
    if host == "localhost":
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if address is None or not address.is_loopback:
        raise InputError(
            f"host {host!r} is not a loopback address: secure remote binding is not available yet, "
            f"so frames stay on this machine; use 127.0.0.1, ::1 or localhost, and an SSH tunnel "
            f"to reach another machine"
        )
    return host


def check_port(port: int, lowest: int = 0) -> None:
    """Raise ``InputError`` unless ``port`` is a TCP port number of at least ``lowest``."""
    if not lowest <= port <= 65535:
        raise InputError(f"port {port} is not within [{lowest}, 65535]")
