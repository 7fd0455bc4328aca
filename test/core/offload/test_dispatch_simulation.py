"""Dispatch over link traces: never far from the better fixed side, and better than both where the
link changes. The link, the robot and the cloud are formulas; the estimates are the real code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest

from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.dispatcher import Dispatcher
from fluxshard_core.offload.latency_model import LatencyModel, Workload
from fluxshard_core.offload.latency_profile import LatencyProfile

Method = Literal["dispatch", "edge", "cloud"]
Trace = Callable[[float], float]

MBPS = 1e6 / 8
RTT_S = 0.02
FRAMES = 1500
SECONDS_A_FRAME = 0.1


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


def _total_ms(trace: Trace, method: Method, edge_slowdown: float = 1.0) -> float:
    rng = np.random.default_rng(5)
    model = LatencyModel(EDGE, CLOUD, BandwidthEstimator())
    dispatcher = Dispatcher(model=model)
    total = 0.0
    for number in range(FRAMES):
        now_s = number * SECONDS_A_FRAME
        ratio = float(np.clip(0.35 + 0.1 * np.sin(number / 40) + rng.normal(0, 0.03), 0.1, 1))
        work = Workload(ratio, ratio, int(1_100_000 * ratio))
        noise = float(np.exp(rng.normal(0, 0.05)))
        edge_ms = EDGE.sparse_ms(ratio) * noise * edge_slowdown
        compute_ms = CLOUD.sparse_ms(ratio) * noise
        link_ms = (RTT_S + work.tx_bytes / (trace(now_s) * MBPS)) * 1e3 * noise
        cloud_ms = compute_ms + link_ms + 5.0
        path = dispatcher.decide(now_s, work).path if method == "dispatch" else method
        spent = edge_ms if path == "edge" else cloud_ms
        if method == "dispatch" and path == "edge":
            dispatcher.record("edge", spent)
        elif method == "dispatch":
            done_s = now_s + spent * 1e-3
            dispatcher.record("cloud", spent, now_s=done_s, compute_ms=compute_ms, link_ms=link_ms)
        total += spent
    return total


@pytest.mark.parametrize("mbps", [130.0, 56.0, 25.0, 8.0])
@pytest.mark.parametrize("edge_slowdown", [1.0, 2.0, 0.5])
def test_on_a_steady_link_it_is_within_a_tenth_of_the_better_side(
    mbps: float, edge_slowdown: float
) -> None:
    best = min(_total_ms(_steady(mbps), side, edge_slowdown) for side in ("edge", "cloud"))
    assert _total_ms(_steady(mbps), "dispatch", edge_slowdown) <= 1.10 * best


def test_on_a_changing_link_it_is_better_than_either_side() -> None:
    fixed = [_total_ms(_changing, side) for side in ("edge", "cloud")]
    assert _total_ms(_changing, "dispatch") < 0.95 * min(fixed)
