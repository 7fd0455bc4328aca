"""Which side runs the next frame: the one that is expected to answer sooner."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from fluxshard_core.errors import InputError
from fluxshard_core.offload.ewma import Ewma

Path = Literal["edge", "cloud"]


@dataclass(frozen=True)
class DispatcherConfig:
    """How latencies are judged.

    :param epsilon: relative margin within which the cloud wins, to save the robot's battery.
    :param weight: of the newest latency in the moving average of a side that runs every frame,
        in (0, 1]; after a pause it is larger, as ``Ewma`` says.
    :param probe_every: the slower side runs at least one of so many frames, to be measured again.
    :param first_backoff_s: how long the cloud is not tried after the link fails; doubles with
        every further failure in a row up to ``max_backoff_s``.
    """

    epsilon: float = 0.1
    weight: float = 0.2
    probe_every: int = 10
    first_backoff_s: float = 0.5
    max_backoff_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse settings that would make a decision impossible."""
        for name, fine in (
            ("epsilon", self.epsilon >= 0),
            ("weight", 0 < self.weight <= 1),
            ("probe_every", self.probe_every >= 2),
            ("first_backoff_s", 0 < self.first_backoff_s <= self.max_backoff_s),
            ("max_backoff_s", math.isfinite(self.max_backoff_s)),
        ):
            if not fine:
                raise InputError(f"dispatcher {name} is out of range: {getattr(self, name)}")


@dataclass(frozen=True)
class Decision:
    """Where a frame goes, the latencies expected of both sides (``None``: unknown), and why."""

    path: Path
    edge_ms: float | None
    cloud_ms: float | None
    reason: str


class _Side:
    """What is known of one side."""

    def __init__(self, config: DispatcherConfig) -> None:
        self.latency_ms = Ewma(config.weight)
        self.age = 0  # frames decided since the last latency

    def add(self, latency_ms: float) -> None:
        self.latency_ms.add(latency_ms, max(1, self.age))
        self.age = 0


class Dispatcher:
    """Learns from the latency each side really took; time is passed in, nothing is measured here.

    Per frame: ``decide``, then ``record`` what the chosen side took, or ``link_failed``.
    """

    def __init__(self, config: DispatcherConfig | None = None) -> None:
        self._config = config or DispatcherConfig()
        self._sides: dict[Path, _Side] = {
            "edge": _Side(self._config),
            "cloud": _Side(self._config),
        }
        self._failures = 0
        self._blocked_until_s = -math.inf

    def decide(self, now_s: float) -> Decision:
        """Choose a side for the next frame; ``now_s`` is any monotonic clock in seconds."""
        path, reason = self._choose(now_s)
        for side in self._sides.values():
            side.age += 1
        return Decision(path, self._expected("edge"), self._expected("cloud"), reason)

    def record(self, path: Path, latency_ms: float) -> None:
        """Take in what a frame took on one side from capture to result, in milliseconds.

        :raises InputError: for a latency that is negative or not finite.
        """
        if not (math.isfinite(latency_ms) and latency_ms >= 0):
            raise InputError(f"a latency of {latency_ms} ms cannot be learned from")
        self._sides[path].add(latency_ms)
        if path == "cloud":
            self._failures = 0

    def link_failed(self, now_s: float) -> None:
        """Keep away from the cloud for a while: a frame sent there got no answer."""
        pause_s = self._config.first_backoff_s * 2.0 ** min(self._failures, 32)
        self._blocked_until_s = now_s + min(pause_s, self._config.max_backoff_s)
        self._failures += 1

    def _choose(self, now_s: float) -> tuple[Path, str]:
        if now_s < self._blocked_until_s:
            return "edge", f"link failed, blocked for {self._blocked_until_s - now_s:.1f} s"
        edge_ms, cloud_ms = self._expected("edge"), self._expected("cloud")
        if edge_ms is None:
            return "edge", "not measured yet"
        if cloud_ms is None:
            return "cloud", "not measured yet"
        faster: Path = "cloud" if cloud_ms <= edge_ms * (1 + self._config.epsilon) else "edge"
        slower: Path = "edge" if faster == "cloud" else "cloud"
        if self._sides[slower].age >= self._config.probe_every - 1:
            return slower, "probe"
        within_epsilon = faster == "cloud" and cloud_ms > edge_ms
        return faster, "within epsilon" if within_epsilon else "expected sooner"

    def _expected(self, path: Path) -> float | None:
        return self._sides[path].latency_ms.value
