"""Bounds on what peers may ask of a server."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluxshard_core.offload.header import WireLimits
from fluxshard_core.offload.inference_worker import MAX_BATCH


@dataclass(frozen=True)
class ServerConfig:
    """``max_connections`` robots are served at once. ``max_in_flight`` frames of one connection
    are accepted before the server stops reading from it; ``max_waiting`` frames of all of them
    wait for the model, whose ``lanes`` each take up to ``max_batch`` at once. A frame that has
    begun must be complete, and a result must be read, within ``peer_timeout_s``; a peer that sends
    nothing for ``idle_timeout_s`` is let go.

    A stranger must have shown who it is within ``handshake_timeout_s``; of more than
    ``max_handshakes`` strangers the one that has taken longest goes.

    One robot is read from no faster than ``max_frames_per_s`` and ``max_bytes_per_s`` allow over
    a second, and has ``max_sessions_per_robot`` sessions, a new one in place of one unused for
    ``session_idle_s``. A robot is an identity where certificates name one, else a connection.

    ``drain_timeout_s`` is how long ``stop`` lets accepted frames finish.
    """

    max_connections: int = 16
    max_in_flight: int = 4
    max_waiting: int = 64
    max_batch: int = MAX_BATCH
    lanes: int = 1
    peer_timeout_s: float = 10.0
    idle_timeout_s: float = 300.0
    handshake_timeout_s: float = 5.0
    max_handshakes: int = 32
    max_frames_per_s: float = 240.0
    max_bytes_per_s: float = 256.0 * 2**20
    max_sessions_per_robot: int = 4
    session_idle_s: float = 60.0
    drain_timeout_s: float = 5.0
    wire_limits: WireLimits = field(default_factory=WireLimits)
