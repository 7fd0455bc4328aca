"""Latencies on a simulated testbed, from the compute and the bytes that an evaluation measured.

Nothing is run: device curves come from tables, the link from a rate or a trace, what each frame
computes and sends from the report of `fluxshard eval`. The dispatcher is the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.netlab.rates import Rate
from fluxshard_core.evaluation.testbeds import Testbed
from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.dispatcher import Dispatcher
from fluxshard_core.offload.latency_model import LatencyModel, Workload
from fluxshard_core.offload.side_cost import ProfiledCost

Side = Literal["edge", "cloud"]
Placement = Literal["edge", "cloud", "dispatched"]

_PLACEMENTS: dict[str, Placement] = {
    "edge_only": "edge",
    "keyframe_mv": "edge",
    "full_offload": "cloud",
    "coach": "cloud",
    "deltacnn": "dispatched",
    "motion_deltacnn": "dispatched",
    "bounded": "dispatched",
    "fluxshard": "dispatched",
}
"""Where methods run; `roi` is missing because its two networks are not told apart in a report."""


@dataclass(frozen=True)
class Count:
    """What one frame computes, as a share of the dense network, and sends."""

    ratio: float
    tx_bytes: int


@dataclass(frozen=True)
class SimulatedRow:
    """One method at one place over one link; milliseconds from frame in to result out."""

    rate: str
    method: str
    frames: int
    p50_ms: float
    p95_ms: float
    mean_ms: float
    on_cloud: float
    bytes_per_frame: float


class Link:
    """An uplink of a known rate over time; ``rtt_s`` is added to every exchange."""

    def __init__(self, rate: Rate, rtt_s: float) -> None:
        self._rate = rate
        self._rtt_s = rtt_s

    def exchange_s(self, size: int, start_s: float) -> float:
        """Return the seconds from sending ``size`` bytes at ``start_s`` to the answer."""
        left, now_s = 8.0 * size, start_s
        steps = self._rate.steps
        for step, after in zip(steps, (*steps[1:], None), strict=True):
            until_s = float("inf") if after is None else after.at_s
            if until_s <= now_s:
                continue
            bits = step.mbit * 1e6 * (until_s - now_s)
            if bits >= left:
                return now_s + left / (step.mbit * 1e6) - start_s + self._rtt_s
            left, now_s = left - bits, until_s
        raise AssertionError("the last step lasts")


def placement_of(method: str) -> Placement | None:
    """Return where a method of a report runs, None if that cannot be simulated."""
    return _PLACEMENTS.get(method.partition(":")[0])


def simulate(
    counts: Sequence[Count],
    bed: Testbed,
    pixels: int,
    link: Link,
    placement: Placement,
    period_s: float = 0.0,
) -> tuple[list[float], list[Side]]:
    """Return each frame's milliseconds and side, the next one beginning when the last is done,
    or ``period_s`` after it began if that is later.

    What a side missed while it rested is not in the counts: over a link that changes much a
    dispatched method pays somewhat more than this.
    """
    edge, cloud = bed.edge(pixels), bed.cloud(pixels)
    dispatcher = Dispatcher(
        LatencyModel(ProfiledCost(edge), ProfiledCost(cloud), BandwidthEstimator())
    )
    now_s, spent, sides = 0.0, [], []
    for count in counts:
        whole = count.ratio >= 1.0
        side: Side = "edge" if placement == "edge" else "cloud"
        if placement == "dispatched":
            work = Workload(count.ratio, count.ratio, count.tx_bytes, whole, whole)
            side = dispatcher.decide(now_s, work).path
        profile = edge if side == "edge" else cloud
        compute_ms = profile.frame_ms(count.ratio, dense=whole) if count.ratio else 0.0
        link_ms = 0.0
        if side == "cloud" and count.tx_bytes:
            link_ms = link.exchange_s(count.tx_bytes, now_s) * 1e3
        took_ms = compute_ms + link_ms
        if placement == "dispatched":
            done_s = now_s + took_ms * 1e-3
            dispatcher.record(side, took_ms, now_s=done_s, compute_ms=compute_ms, link_ms=link_ms)
        now_s += max(took_ms * 1e-3, period_s)
        spent.append(took_ms)
        sides.append(side)
    return spent, sides


def rows(
    methods: dict[str, list[list[Count]]],
    bed: Testbed,
    pixels: int,
    rates: Sequence[Rate],
    rtt_s: float,
    *,
    period_s: float = 0.0,
    skipped: Callable[[str], None] = lambda method: None,
) -> list[SimulatedRow]:
    """Return a row for every method, which has the counts of each of its sequences, and rate.

    A dispatched method has two more rows, ``METHOD@edge`` and ``METHOD@cloud``, all frames on one
    side. ``skipped`` is told of methods that cannot be simulated.

    :raises InputError: if none is left.
    """
    placements: list[tuple[str, str, Placement]] = []
    for method in methods:
        placement = placement_of(method)
        if placement is None:
            skipped(method)
            continue
        placements.append((method, method, placement))
        if placement == "dispatched":
            placements += [(f"{method}@edge", method, "edge"), (f"{method}@cloud", method, "cloud")]
    if not placements:
        raise InputError("the report has no method that can be simulated")
    return [
        _row(rate, label, placement, methods[method], bed, pixels, Link(rate, rtt_s), period_s)
        for rate in rates
        for label, method, placement in placements
    ]


def _row(
    rate: Rate,
    label: str,
    placement: Placement,
    sequences: Sequence[Sequence[Count]],
    bed: Testbed,
    pixels: int,
    link: Link,
    period_s: float,
) -> SimulatedRow:
    counts = [count for sequence in sequences for count in sequence]
    spent, sides = simulate(counts, bed, pixels, link, placement, period_s)
    p50, p95 = (float(np.percentile(spent, share)) for share in (50, 95))
    sent = [
        count.tx_bytes if side == "cloud" else 0 for count, side in zip(counts, sides, strict=True)
    ]
    return SimulatedRow(
        rate.name,
        label,
        len(counts),
        p50,
        p95,
        float(np.mean(spent)),
        sides.count("cloud") / len(sides),
        float(np.mean(sent)),
    )
