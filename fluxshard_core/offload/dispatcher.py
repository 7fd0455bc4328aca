"""Which side runs the next frame: the one that is expected to answer sooner."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from fluxshard_core.errors import InputError
from fluxshard_core.offload.ewma import Ewma
from fluxshard_core.offload.latency_model import LatencyModel, Workload

Path = Literal["edge", "cloud"]

_PROBE: Final = "probe"


@dataclass(frozen=True)
class DispatcherConfig:
    """How latencies are judged.

    :param epsilon: relative margin within which the preferred side wins.
    :param prefer: that side; ``cloud`` saves the robot's battery, ``edge`` the network.
    :param weight: of the newest latency in the moving average of a side that runs every frame,
        in (0, 1]; after a pause it is larger, as ``Ewma`` says.
    :param probe_every: without profiles the slower side runs at least one of so many frames, to
        be measured again.
    :param hysteresis: with profiles, relative margin by which the other side must be sooner than
        the one that ran last: every change of sides recomputes what the other had fresh.
    :param probe_share: with profiles, share of the time spent that may go into frames on the
        slower side to measure it again.
    :param first_backoff_s: how long the cloud is not tried after the link fails; doubles with
        every further failure in a row up to ``max_backoff_s``.
    """

    epsilon: float = 0.1
    prefer: Path = "cloud"
    weight: float = 0.2
    probe_every: int = 10
    hysteresis: float = 0.05
    probe_share: float = 0.03
    first_backoff_s: float = 0.5
    max_backoff_s: float = 10.0

    def __post_init__(self) -> None:
        """Refuse settings that would make a decision impossible."""
        for name, fine in (
            ("epsilon", self.epsilon >= 0),
            ("prefer", self.prefer in ("edge", "cloud")),
            ("weight", 0 < self.weight <= 1),
            ("probe_every", self.probe_every >= 2),
            ("hysteresis", self.hysteresis >= 0),
            ("probe_share", 0 <= self.probe_share < 1),
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

    @property
    def expected_ms(self) -> float | None:
        """The latency expected of the chosen side."""
        return self.edge_ms if self.path == "edge" else self.cloud_ms


class _Side:
    """What is known of one side."""

    def __init__(self, config: DispatcherConfig) -> None:
        self.latency_ms = Ewma(config.weight)
        self.age = 0  # frames decided since the last latency

    def add(self, latency_ms: float) -> None:
        self.latency_ms.add(latency_ms, max(1, self.age))
        self.age = 0


class Dispatcher:
    """Expects of each side what ``model`` says of the frame's workload; without one, what the side
    took lately, and then it probes the slower one. Time is passed in, nothing is measured here.

    Per frame: ``decide``, then ``record`` what the chosen side took, or ``link_failed``.
    """

    def __init__(
        self, config: DispatcherConfig | None = None, model: LatencyModel | None = None
    ) -> None:
        self._config = config or DispatcherConfig()
        self._model = model
        self._sides: dict[Path, _Side] = {
            "edge": _Side(self._config),
            "cloud": _Side(self._config),
        }
        self._work: Workload | None = None
        self._last: Path | None = None
        self._probe_budget_ms = 0.0
        self._probing_ms: float | None = None  # expected of the side not probed
        self._failures = 0
        self._blocked_until_s = -math.inf

    def decide(self, now_s: float, work: Workload | None = None) -> Decision:
        """Choose a side for the next frame; ``now_s`` is any monotonic clock in seconds.

        ``work`` is what the frame asks of either side, looked at only where there is a model.
        """
        self._work = None if self._model is None else work
        edge_ms, cloud_ms = self._expected(now_s)
        path, reason = self._choose(now_s, edge_ms, cloud_ms)
        for side in self._sides.values():
            side.age += 1
        self._probing_ms = None
        if reason == _PROBE:
            self._probing_ms = edge_ms if path == "cloud" else cloud_ms
        else:
            self._last = path
        return Decision(path, edge_ms, cloud_ms, reason)

    def record(
        self,
        path: Path,
        latency_ms: float,
        *,
        now_s: float = 0.0,
        compute_ms: float | None = None,
        link_ms: float | None = None,
        tx_bytes: int | None = None,
    ) -> None:
        """Take in what a frame took on one side from capture to result, in milliseconds.

        Of a frame that the cloud ran, ``compute_ms`` is what the cloud says it spent and
        ``link_ms`` the rest of the time between request and answer; a model needs both.
        ``tx_bytes`` is what was sent, where it is known better than before.

        :raises InputError: for a latency that is negative or not finite.
        """
        for part in (latency_ms, compute_ms or 0.0, link_ms or 0.0):
            if not (math.isfinite(part) and part >= 0):
                raise InputError(f"a latency of {part} ms cannot be learned from")
        self._sides[path].add(latency_ms)
        self._probe_budget_ms += self._config.probe_share * latency_ms
        if self._probing_ms is not None:
            self._probe_budget_ms -= max(0.0, latency_ms - self._probing_ms)
        if path == "cloud":
            self._failures = 0
        if self._model is not None and self._work is not None:
            if path == "edge":
                self._model.edge_took(self._work, latency_ms)
            elif compute_ms is not None and link_ms is not None:
                sent = self._work.tx_bytes if tx_bytes is None else tx_bytes
                done = replace(self._work, tx_bytes=sent)
                self._model.cloud_took(done, latency_ms, compute_ms, link_ms, now_s)

    def link_failed(self, now_s: float) -> None:
        """Keep away from the cloud for a while: a frame sent there got no answer."""
        pause_s = self._config.first_backoff_s * 2.0 ** min(self._failures, 32)
        self._blocked_until_s = now_s + min(pause_s, self._config.max_backoff_s)
        self._failures += 1

    def _expected(self, now_s: float) -> tuple[float | None, float | None]:
        if self._model is not None and self._work is not None:
            return self._model.edge_ms(self._work), self._model.cloud_ms(self._work, now_s)
        return self._sides["edge"].latency_ms.value, self._sides["cloud"].latency_ms.value

    def _choose(
        self, now_s: float, edge_ms: float | None, cloud_ms: float | None
    ) -> tuple[Path, str]:
        if now_s < self._blocked_until_s:
            return "edge", f"link failed, blocked for {self._blocked_until_s - now_s:.1f} s"
        if edge_ms is None:
            return "edge", "not measured yet"
        if cloud_ms is None:
            return "cloud", "not measured yet"
        best, reason = self._better(edge_ms, cloud_ms)
        other: Path = "edge" if best == "cloud" else "cloud"
        if self._must_probe(other, abs(edge_ms - cloud_ms)):
            return other, _PROBE
        return best, reason

    def _better(self, edge_ms: float, cloud_ms: float) -> tuple[Path, str]:
        """Weigh both with the margins for the preferred side and for the one that ran last."""
        cost: dict[Path, float] = {"edge": edge_ms, "cloud": cloud_ms}
        sooner: Path = "cloud" if cloud_ms <= edge_ms else "edge"
        disliked: Path = "edge" if self._config.prefer == "cloud" else "cloud"
        cost[disliked] *= 1 + self._config.epsilon
        if self._work is not None and self._last is not None:
            cost["cloud" if self._last == "edge" else "edge"] *= 1 + self._config.hysteresis
        favoured = self._config.prefer
        best: Path = favoured if cost[favoured] <= cost[disliked] else disliked
        if best == sooner:
            return best, "expected sooner"
        stays = self._work is not None and best == self._last
        return best, "not worth a change of sides" if stays else "within epsilon"

    def _must_probe(self, slower: Path, extra_ms: float) -> bool:
        """Whether it is time to measure the side not chosen again.

        With a model that costs what the side is expected to be slower, out of a budget that grows
        with the time spent: however slow it is, probing never costs more than its share.
        """
        if self._work is None:
            return self._sides[slower].age >= self._config.probe_every - 1
        rested = self._sides[slower].age >= self._config.probe_every
        return rested and self._probe_budget_ms >= extra_ms
