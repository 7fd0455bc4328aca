"""Bounds on what peers may ask of a server."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluxshard_core.offload.header import WireLimits


@dataclass(frozen=True)
class ServerConfig:
    """``max_in_flight`` frames of one connection are accepted before the server stops reading
    from it; ``max_waiting`` frames of all of them wait for the model. A frame that has begun must
    be complete, and a result must be read, within ``peer_timeout_s``. ``drain_timeout_s`` is how
    long ``stop`` lets accepted frames finish.
    """

    max_connections: int = 16
    max_in_flight: int = 4
    max_waiting: int = 64
    peer_timeout_s: float = 10.0
    drain_timeout_s: float = 5.0
    wire_limits: WireLimits = field(default_factory=WireLimits)
