"""How patient the edge end of the TCP bridge is, and what it has seen."""

from __future__ import annotations

from dataclasses import dataclass, field

from fluxshard_core.offload.header import WireLimits


@dataclass(frozen=True)
class ClientConfig:
    """Pauses between attempts double from ``first_retry_s`` to ``max_retry_s``, less a jitter.

    A connection on which nothing at all is heard for ``silence_limit_s`` after a request, not even
    the answer to a greeting sent half-way, is closed and made again.

    After ``failure_limit`` requests in a row that were late or refused, no more are sent for a
    pause that doubles from ``first_pause_s`` to ``max_pause_s``; then one is tried.
    """

    connect_timeout_s: float = 2.0
    first_retry_s: float = 0.05
    max_retry_s: float = 2.0
    silence_limit_s: float = 2.0
    failure_limit: int = 2
    first_pause_s: float = 0.5
    max_pause_s: float = 10.0
    wire_limits: WireLimits = field(default_factory=WireLimits)


@dataclass
class LinkCounters:
    """Counts over all connections a link has had."""

    connections: int = 0
    timeouts: int = 0
    late_answers: int = 0
    duplicate_answers: int = 0
    not_sent: int = 0
    """Requests failed at once: no connection, or the last ones were late or refused."""
