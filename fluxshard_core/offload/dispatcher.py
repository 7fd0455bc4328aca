"""Which side runs the next frame: the one that is expected to answer sooner."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, Literal

from fluxshard_core.errors import InputError
from fluxshard_core.offload.latency_model import LatencyModel, Workload

Path = Literal["edge", "cloud"]

_PROBE: Final = "probe"
UNREACHABLE: Final = "the cloud cannot be asked now"


@dataclass(frozen=True)
class DispatcherConfig:
    """How latencies are judged.

    :param epsilon: relative margin within which the preferred side wins.
    :param prefer: that side; ``cloud`` saves the robot's battery, ``edge`` the network.
    :param probe_after: frames after which the side not chosen may be measured again.
    :param probe_share: share of the time spent that may go into that.
    :param hysteresis: relative margin by which the other side must be sooner than the one that ran
        last.
    :param stay: frames over which the cost of catching up is spread when the other side is weighed:
        what it missed is owed once, not with every frame.
    """

    epsilon: float = 0.1
    prefer: Path = "cloud"
    probe_after: int = 10
    probe_share: float = 0.03
    hysteresis: float = 0.05
    stay: int = 8

    def __post_init__(self) -> None:
        """Refuse settings that would make a decision impossible."""
        for name, fine in (
            ("epsilon", 0 <= self.epsilon < math.inf),
            ("prefer", self.prefer in ("edge", "cloud")),
            ("probe_after", self.probe_after >= 1),
            ("probe_share", 0 <= self.probe_share < 1),
            ("hysteresis", 0 <= self.hysteresis < math.inf),
            ("stay", self.stay >= 1),
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


class Dispatcher:
    """Expects of each side what ``model`` says of the frame's workload; tries a side of which it
    knows nothing, and now and then the slower one. Time is passed in, nothing is measured here.

    Per frame: ``decide``, then ``record`` what the chosen side took, if it did. To find out what a
    frame asks of the side that rests takes time; ``stay`` says without it where that is clear.
    """

    def __init__(self, model: LatencyModel, config: DispatcherConfig | None = None) -> None:
        self._config = config or DispatcherConfig()
        self._model = model
        self._age: dict[Path, int] = {"edge": 0, "cloud": 0}  # frames since it was measured
        self._work = Workload(0.0, 0.0, 0)
        self._last: Path | None = None
        self._probe_budget_ms = 0.0
        self._probing_ms: float | None = None  # expected of the side not probed
        self._hoped_ms = 0.0  # what looking at the other side might have saved since the last look
        self._unseen = 0  # frames since then

    @property
    def side(self) -> Path | None:
        """The side that frames go to, probes apart; None before the first."""
        return self._last

    @property
    def link_decides(self) -> bool:
        """Whether the last frame would have gone to the cloud over a link fast enough."""
        return self._model.link_decides(self._work)

    def stay(self, now_s: float, least: Workload, look_ms: float) -> Decision | None:
        """Keep to ``side`` where it would not pay to find out what the other one is asked.

        ``least`` is what the frame asks of ``side``, and of the other the least it could: what
        one that had missed nothing is asked. Finding out takes ``look_ms``. None: it is due,
        because the other might be sooner by as much in the frames since it was found out last, or
        is to be measured, or nothing is known of it; then ``decide``.
        """
        edge_ms, cloud_ms = self._model.edge_ms(least), self._model.cloud_ms(least, now_s)
        if self._last is None or edge_ms is None or cloud_ms is None:
            return None
        other: Path = "edge" if self._last == "cloud" else "cloud"
        cost = self._weighed(edge_ms, self._hopeful(now_s, least, cloud_ms))
        self._hoped_ms += max(0.0, cost[self._last] - cost[other])
        self._unseen += 1
        rested = self._unseen >= self._config.probe_after  # what it is asked may be too dear
        if self._hoped_ms > look_ms or (rested and self._probe_due(other, edge_ms, cloud_ms)):
            return None
        self._begin(least, self._last, "")
        reason = "expected sooner" if cost[self._last] <= cost[other] else "not worth a look"
        return Decision(self._last, edge_ms, cloud_ms, reason)

    def decide(self, now_s: float, work: Workload, *, reachable: bool = True) -> Decision:
        """Choose a side for the next frame, which asks ``work`` of either; ``now_s`` is any
        monotonic clock in seconds, ``reachable`` whether the cloud can be asked."""
        edge_ms, cloud_ms = self._model.edge_ms(work), self._model.cloud_ms(work, now_s)
        self._work, self._hoped_ms, self._unseen = work, 0.0, 0
        path, reason = self._choose(now_s, edge_ms, cloud_ms, reachable)
        self._begin(work, path, reason)
        if reason == _PROBE:
            self._probing_ms = edge_ms if path == "cloud" else cloud_ms
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
        ratio: float | None = None,
        dense: bool | None = None,
    ) -> None:
        """Take in what a frame took on one side from capture to result, in milliseconds.

        Of a frame that the cloud ran, ``compute_ms`` is what the cloud says it spent and
        ``link_ms`` the rest of the time between request and answer; both are needed to learn from
        it. ``tx_bytes`` is what was sent, ``ratio`` and ``dense`` what was computed, where they are
        known better than before.

        :raises InputError: for a latency that is negative or not finite.
        """
        for part in (latency_ms, compute_ms or 0.0, link_ms or 0.0):
            if not (math.isfinite(part) and part >= 0):
                raise InputError(f"a latency of {part} ms cannot be learned from")
        self._age[path] = 0
        self._probe_budget_ms += self._config.probe_share * latency_ms
        if self._probing_ms is not None:
            self._probe_budget_ms -= max(0.0, latency_ms - self._probing_ms)
            self._probing_ms = None
        work = self._done(path, ratio, dense)
        if path == "edge":
            self._model.edge_took(work, latency_ms)
        elif compute_ms is not None and link_ms is not None:
            work = work if tx_bytes is None else replace(work, tx_bytes=tx_bytes)
            self._model.cloud_took(work, latency_ms, compute_ms, link_ms, now_s)

    def _begin(self, work: Workload, path: Path, reason: str) -> None:
        """Remember what is going to run where."""
        self._work, self._probing_ms = work, None
        for side in self._age:
            self._age[side] += 1
        if reason != _PROBE:
            self._last = path

    def _done(self, path: Path, ratio: float | None, dense: bool | None) -> Workload:
        """Return the workload as it was really done."""
        known = {f"{path}_ratio": ratio, f"{path}_dense": dense}
        changes = {name: value for name, value in known.items() if value is not None}
        return replace(self._work, **changes)  # type: ignore[arg-type]

    def _choose(
        self, now_s: float, edge_ms: float | None, cloud_ms: float | None, reachable: bool
    ) -> tuple[Path, str]:
        if not reachable:
            return "edge", UNREACHABLE
        if edge_ms is None:
            return "edge", "not measured yet"
        if cloud_ms is None:
            return "cloud", "not measured yet"
        best, reason = self._better(now_s, edge_ms, self._hopeful(now_s, self._work, cloud_ms))
        other: Path = "edge" if best == "cloud" else "cloud"
        return (other, _PROBE) if self._probe_due(other, edge_ms, cloud_ms) else (best, reason)

    def _hopeful(self, now_s: float, work: Workload, cloud_ms: float) -> float:
        """A link is measured by using it: worth a frame wherever a fast one would win."""
        hoped_ms = self._model.cloud_ms(work, now_s, hopeful=True)
        return cloud_ms if hoped_ms is None else hoped_ms

    def _probe_due(self, other: Path, edge_ms: float, cloud_ms: float) -> bool:
        """However slow the other side is, probing never costs more than its share."""
        rested = self._age[other] >= self._config.probe_after
        return rested and self._probe_budget_ms >= abs(edge_ms - cloud_ms)

    def _better(self, now_s: float, edge_ms: float, cloud_ms: float) -> tuple[Path, str]:
        """Return the side to prefer with all margins, and why."""
        cost: dict[Path, float] = {"edge": edge_ms, "cloud": cloud_ms}
        if self._last is not None:
            rested: Path = "cloud" if self._last == "edge" else "edge"
            cost[rested] = self._spread(now_s, rested, cost[rested])
        sooner: Path = "cloud" if cost["cloud"] <= cost["edge"] else "edge"
        weighed = self._weighed(cost["edge"], cost["cloud"])
        favoured = self._config.prefer
        disliked: Path = "edge" if favoured == "cloud" else "cloud"
        best: Path = favoured if weighed[favoured] <= weighed[disliked] else disliked
        if best == sooner:
            return best, "expected sooner"
        return best, "not worth a change of sides" if best == self._last else "within epsilon"

    def _weighed(self, edge_ms: float, cloud_ms: float) -> dict[Path, float]:
        """Return both with the margins against the side less liked and the one that rested."""
        cost: dict[Path, float] = {"edge": edge_ms, "cloud": cloud_ms}
        cost["edge" if self._config.prefer == "cloud" else "cloud"] *= 1 + self._config.epsilon
        if self._last is not None:
            cost["cloud" if self._last == "edge" else "edge"] *= 1 + self._config.hysteresis
        return cost

    def _spread(self, now_s: float, rested: Path, frame_ms: float) -> float:
        """Return a frame's cost on a side that rested, were it to go on there."""
        work = self._work.settled(rested)
        later = self._model.edge_ms(work) if rested == "edge" else self._model.cloud_ms(work, now_s)
        if later is None or later >= frame_ms:
            return frame_ms
        return later + (frame_ms - later) / self._config.stay
