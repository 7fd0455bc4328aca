"""Dispatch over link traces: never far from the better fixed side, and better than both where the
link changes. The link, the robot and the cloud are formulas; the estimates are the real code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest

from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.dispatcher import Dispatcher, Path
from fluxshard_core.offload.latency_model import LatencyModel, Workload
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.side_cost import LearnedCost, ProfiledCost

Method = Literal["dispatch", "looking", "edge", "cloud"]
Trace = Callable[[float], float]

MBPS = 1e6 / 8
RTT_S = 0.02
FRAMES = 1500
SECONDS_A_FRAME = 0.1
FIXED: tuple[Method, Method] = ("edge", "cloud")
LOOK_MS = 25.0
"""What it takes to find out what a frame asks of one side."""


def _profile(dense_ms: float) -> LatencyProfile:
    ratios = (0.1, 0.3, 0.6, 1.0)
    spent = tuple(dense_ms * (0.15 + 0.85 * ratio) for ratio in ratios)
    return LatencyProfile("m", "0f", (480, 864), "test", 1, ratios, spent, dense_ms)


EDGE, CLOUD = _profile(380.0), _profile(20.0)


def _steady(mbps: float) -> Trace:
    return lambda _: mbps


def _changing(seconds: float) -> float:
    """Fast, slow, outage-like and fast again, fifteen seconds each."""
    return (130.0, 25.0, 4.0, 56.0)[int(seconds // 15) % 4]


class _Robot:
    """What one run of the trace costs: a side that rests misses what moves, and owes it."""

    def __init__(self, trace: Trace, edge_slowdown: float) -> None:
        self._trace, self._slowdown = trace, edge_slowdown
        self._rng = np.random.default_rng(5)
        self._missed = {"edge": 1.0, "cloud": 1.0}

    def frame(self, number: int) -> tuple[Workload, float, float, float]:
        """Return what the frame asks of both sides, and the milliseconds of the edge, of the
        cloud's computing and of the link."""
        rng = self._rng
        ratio = float(np.clip(0.35 + 0.1 * np.sin(number / 40) + rng.normal(0, 0.03), 0.1, 1))
        here, there = (min(1.0, ratio + self._missed[side]) for side in ("edge", "cloud"))
        work = Workload(here, there, int(1_100_000 * there), here > 0.8, there > 0.8)
        noise = float(np.exp(rng.normal(0, 0.05)))
        edge_ms = EDGE.frame_ms(here, dense=work.edge_dense) * noise * self._slowdown
        compute_ms = CLOUD.frame_ms(there, dense=work.cloud_dense) * noise
        rate = self._trace(number * SECONDS_A_FRAME) * MBPS
        return work, edge_ms, compute_ms, (RTT_S + work.tx_bytes / rate) * 1e3 * noise

    def ran(self, path: str) -> None:
        """The other side missed another frame."""
        for side in self._missed:
            self._missed[side] = 0.0 if side == path else min(1.0, self._missed[side] + 0.03)


def _choose(
    dispatcher: Dispatcher, method: Method, now_s: float, work: Workload
) -> tuple[Path, int]:
    """Return the side, and how many sides were looked at to choose it, where that is counted."""
    if method == "edge" or method == "cloud":
        return method, 1
    if method == "dispatch":
        return dispatcher.decide(now_s, work).path, 0
    if side := dispatcher.side:
        ratio, sent, dense = (
            (work.edge_ratio, int(1_100_000 * work.edge_ratio), work.edge_dense)
            if side == "edge"
            else (work.cloud_ratio, work.tx_bytes, work.cloud_dense)
        )
        least = Workload(ratio, ratio, sent, dense, dense)
        if decision := dispatcher.stay(now_s, least, LOOK_MS):
            return decision.path, 1
    return dispatcher.decide(now_s, work).path, 2


def _total_ms(
    trace: Trace,
    method: Method,
    edge_slowdown: float = 1.0,
    *,
    profiles: bool = True,
    look_ms: float = 0.0,
) -> float:
    sides = (
        (ProfiledCost(EDGE), ProfiledCost(CLOUD)) if profiles else (LearnedCost(), LearnedCost())
    )
    dispatcher = Dispatcher(LatencyModel(*sides, BandwidthEstimator()))
    robot, total = _Robot(trace, edge_slowdown), 0.0
    for number in range(FRAMES):
        now_s = number * SECONDS_A_FRAME
        work, edge_ms, compute_ms, link_ms = robot.frame(number)
        path, looks = _choose(dispatcher, method, now_s, work)
        spent = edge_ms if path == "edge" else compute_ms + link_ms + 5.0
        done_s = now_s + spent * 1e-3
        if path == "edge":
            dispatcher.record("edge", spent)
        else:
            dispatcher.record("cloud", spent, now_s=done_s, compute_ms=compute_ms, link_ms=link_ms)
        robot.ran(path)
        total += spent + looks * look_ms
    return total


@pytest.mark.parametrize(("method", "look_ms"), [("dispatch", 0.0), ("looking", LOOK_MS)])
@pytest.mark.parametrize("profiles", [True, False], ids=["profiles", "learned"])
@pytest.mark.parametrize("mbps", [130.0, 25.0, 8.0])
@pytest.mark.parametrize("edge_slowdown", [1.0, 2.0, 0.5])
def test_on_a_steady_link_it_is_within_a_tenth_of_the_better_side(
    mbps: float, edge_slowdown: float, profiles: bool, method: Method, look_ms: float
) -> None:
    best = min(_total_ms(_steady(mbps), side, edge_slowdown, look_ms=look_ms) for side in FIXED)
    spent = _total_ms(_steady(mbps), method, edge_slowdown, profiles=profiles, look_ms=look_ms)
    assert spent <= 1.10 * best


@pytest.mark.parametrize(
    ("method", "look_ms", "most"), [("dispatch", 0.0, 0.95), ("looking", LOOK_MS, 0.98)]
)
@pytest.mark.parametrize("profiles", [True, False], ids=["profiles", "learned"])
def test_on_a_changing_link_it_is_better_than_either_side(
    profiles: bool, method: Method, look_ms: float, most: float
) -> None:
    best = min(_total_ms(_changing, side, look_ms=look_ms) for side in FIXED)
    assert _total_ms(_changing, method, profiles=profiles, look_ms=look_ms) < most * best


def test_a_side_that_cannot_win_is_hardly_looked_at() -> None:
    """With an edge twice as slow and a fast link only probing is left to look for."""
    free = _total_ms(_steady(130.0), "looking", 2.0)
    looks = (_total_ms(_steady(130.0), "looking", 2.0, look_ms=1.0) - free) / FRAMES
    assert 1.0 <= looks < 1.15
