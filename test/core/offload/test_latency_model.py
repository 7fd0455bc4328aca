"""Estimates start from the profiles and the link, and follow what comes true."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload.bandwidth import BandwidthConfig, BandwidthEstimator
from fluxshard_core.offload.dispatcher import Dispatcher, DispatcherConfig
from fluxshard_core.offload.latency_model import LatencyModel, Workload
from fluxshard_core.offload.latency_profile import LatencyProfile
from fluxshard_core.offload.side_cost import LearnedCost, ProfiledCost

WORK = Workload(edge_ratio=0.5, cloud_ratio=0.25, tx_bytes=100_000)


def _profile(dense_ms: float) -> LatencyProfile:
    return LatencyProfile("m", "0f", (64, 96), "t", 1, (0.01, 1.0), (0.01, dense_ms), dense_ms)


def _model(mbytes_per_s: float = 10.0) -> LatencyModel:
    link = BandwidthEstimator(BandwidthConfig(assumed=mbytes_per_s * 1e6))
    link.add_transfer(round(mbytes_per_s * 1e6), 1.0, 0.0)
    return LatencyModel(ProfiledCost(_profile(100.0)), ProfiledCost(_profile(20.0)), link)


def test_estimates_start_from_the_profiles_and_the_link() -> None:
    model = _model()
    assert model.edge_ms(WORK) == pytest.approx(50.0, rel=0.02)
    assert model.cloud_ms(WORK, 0.0) == pytest.approx(5.0 + 10.0, rel=0.02)


def test_a_dense_frame_costs_what_dense_frames_cost() -> None:
    dense = Workload(0.5, 0.25, 100_000, edge_dense=True, cloud_dense=True)
    assert _model().edge_ms(dense) == pytest.approx(100.0)
    assert _model().cloud_ms(dense, 0.0) == pytest.approx(30.0)


def test_a_cloud_that_computes_frames_whole_does_so_after_it_caught_up_too() -> None:
    whole = Workload(0.5, 0.25, 100_000, cloud_whole=True)
    assert _model().edge_ms(whole) == pytest.approx(50.0, rel=0.02)
    assert _model().cloud_ms(whole, 0.0) == pytest.approx(30.0)
    caught_up = replace(whole, cloud_ratio=1.0, cloud_dense=True).settled("cloud")
    assert caught_up.tx_bytes == 50_000
    assert _model().cloud_ms(caught_up, 0.0) == pytest.approx(20.0 + 5.0)


def test_a_robot_that_is_throttled_is_believed_to_stay_so() -> None:
    model = _model()
    for _ in range(20):
        model.edge_took(WORK, 150.0)
    assert model.edge_ms(WORK) == pytest.approx(150.0, rel=0.05)
    assert model.edge_ms(Workload(0.25, 0.25, 0)) == pytest.approx(75.0, rel=0.05)


def test_a_busy_cloud_a_slow_link_and_what_neither_explains_are_told_apart() -> None:
    model = _model()
    for step in range(30):
        model.cloud_took(WORK, latency_ms=67.0, compute_ms=10.0, link_ms=50.0, now_s=0.1 * step)
    now_s = 2.9
    assert model.cloud_ms(WORK, now_s) == pytest.approx(67.0, rel=0.05)
    assert model.bandwidth.bytes_per_s(now_s) == pytest.approx(2e6, rel=0.05)
    nothing_sent = Workload(0.5, 0.25, 0)
    assert model.cloud_ms(nothing_sent, now_s) == pytest.approx(17.0, rel=0.05)


def test_one_accident_does_not_make_a_side_unusable() -> None:
    model = _model()
    model.edge_took(WORK, 1e6)
    assert model.edge_ms(WORK) < 300.0


@pytest.mark.parametrize("value", [-1, math.nan, math.inf])
def test_impossible_workloads_are_refused(value: float) -> None:
    with pytest.raises(InputError, match="cloud_ratio"):
        Workload(0.1, value, 0)


def _decided(edge: float, sent: int, last: str | None = None, **settings: float) -> tuple[str, str]:
    dispatcher = Dispatcher(_model(), DispatcherConfig(**settings))  # type: ignore[arg-type]
    if last is not None:
        extreme = Workload(1.0, 0.0, 0) if last == "cloud" else Workload(0.0, 1.0, 10**8)
        assert dispatcher.decide(0.0, extreme).path == last
    decision = dispatcher.decide(0.0, Workload(edge, 0.25, sent))
    return decision.path, decision.reason


def test_a_link_that_nobody_measured_is_tried_where_a_fast_one_would_win() -> None:
    slow = BandwidthEstimator(BandwidthConfig(assumed=1e5))
    sides = ProfiledCost(_profile(100.0)), ProfiledCost(_profile(20.0))
    assert Dispatcher(LatencyModel(*sides, slow)).decide(0.0, WORK).path == "cloud"
    hopeless = Workload(edge_ratio=0.02, cloud_ratio=0.9, tx_bytes=100)
    assert Dispatcher(LatencyModel(*sides, slow)).decide(0.0, hopeless).path == "edge"
    slow.add_transfer(100_000, 1.0, 0.0)
    assert Dispatcher(LatencyModel(*sides, slow)).decide(0.0, WORK).path == "edge"


def test_each_frame_is_decided_by_its_own_workload() -> None:
    assert _decided(0.5, 100_000) == ("cloud", "expected sooner")
    assert _decided(0.5, 1_000_000) == ("edge", "expected sooner")
    assert _decided(0.12, 100_000)[0] == "edge"


def test_within_epsilon_the_preferred_side_wins() -> None:
    assert _decided(0.14, 100_000, epsilon=0.2) == ("cloud", "within epsilon")
    assert _decided(0.16, 100_000, epsilon=0.2, prefer="edge") == (  # type: ignore[arg-type]
        "edge",
        "within epsilon",
    )


def test_a_small_gain_is_not_worth_a_change_of_sides() -> None:
    settings = {"epsilon": 0.0, "hysteresis": 0.2, "stay": 1}
    assert _decided(0.14, 100_000, "edge", **settings)[0] == "edge"
    assert _decided(0.16, 100_000, "edge", **settings) == ("edge", "not worth a change of sides")
    assert _decided(0.14, 100_000, "cloud", **settings) == (
        "cloud",
        "not worth a change of sides",
    )
    assert _decided(0.20, 100_000, "edge", **settings)[0] == "cloud"


def test_the_decision_carries_both_estimates_and_that_of_the_chosen_side() -> None:
    decision = Dispatcher(model=_model()).decide(0.0, WORK)
    assert decision.edge_ms == pytest.approx(50.0, rel=0.02)
    assert decision.expected_ms == decision.cloud_ms == pytest.approx(15.0, rel=0.02)


def test_probing_a_slow_side_costs_no_more_than_its_share_of_the_time() -> None:
    dispatcher = Dispatcher(_model(), DispatcherConfig(probe_share=0.05))
    work = Workload(0.1, 0.25, 1_000_000)  # 10 ms here, over 100 ms there
    spent_on_probes = total = 0.0
    for step in range(2000):
        decision = dispatcher.decide(0.1 * step, work)
        spent = 10.0 if decision.path == "edge" else 250.0
        if decision.path == "edge":
            dispatcher.record("edge", spent)
        else:
            assert decision.reason == "probe"
            dispatcher.record("cloud", spent, now_s=0.1 * step, compute_ms=5.0, link_ms=245.0)
            spent_on_probes += spent - 10.0
        total += spent
    assert 0.01 * total < spent_on_probes <= 0.06 * total


def test_the_link_is_judged_by_what_was_really_sent() -> None:
    model = _model()
    dispatcher = Dispatcher(model=model)
    assert dispatcher.decide(0.0, WORK).path == "cloud"
    dispatcher.record("cloud", 25.0, compute_ms=5.0, link_ms=20.0, tx_bytes=400_000)
    assert model.bandwidth.bytes_per_s(0.0) > 11e6, "not the 5 MB/s of what was expected"


def test_a_cloud_that_cannot_be_asked_is_not_chosen_whatever_the_model_says() -> None:
    dispatcher = Dispatcher(model=_model())
    assert dispatcher.decide(0.0, WORK).path == "cloud"
    unreachable = dispatcher.decide(0.1, WORK, reachable=False)
    assert (unreachable.path, unreachable.cloud_ms) == ("edge", pytest.approx(15.0, rel=0.02))
    assert dispatcher.decide(0.2, WORK).path == "cloud"


def _learner() -> LatencyModel:
    link = BandwidthEstimator(BandwidthConfig(assumed=10e6))
    return LatencyModel(LearnedCost(), LearnedCost(), link)


@pytest.mark.parametrize(("edge", "cloud", "better"), [(30.0, 60.0, "edge"), (60.0, 30.0, "cloud")])
def test_without_profiles_both_sides_are_tried_warm_and_the_faster_is_kept(
    edge: float, cloud: float, better: str
) -> None:
    """The first frame of a side takes a hundred times as long, and tells nothing."""
    dispatcher, paths = Dispatcher(_learner()), []
    work = Workload(0.3, 0.3, 1000)
    for step in range(60):
        decision = dispatcher.decide(0.1 * step, work)
        first = decision.path not in paths
        paths.append(decision.path)
        spent = (edge if decision.path == "edge" else cloud) * (100 if first else 1)
        if decision.path == "edge":
            dispatcher.record("edge", spent, dense=first)
        else:
            now_s = 0.1 * step
            parts = {"compute_ms": spent - 1.0, "link_ms": 1.0, "now_s": now_s, "dense": first}
            dispatcher.record("cloud", spent, **parts)  # type: ignore[arg-type]
    assert paths[:4] == ["edge", "edge", "cloud", "cloud"]
    assert paths[4:].count(better) >= 50


def test_what_a_side_missed_is_owed_once_and_keeps_nobody_away_from_it() -> None:
    """The edge would take 16 ms a frame where the cloud takes 25, but 100 for the next one."""
    dispatcher = Dispatcher(_model(), DispatcherConfig(epsilon=0.0))
    assert dispatcher.decide(0.0, Workload(1.0, 0.16, 0)).path == "cloud"
    behind = Workload(1.0, 0.16, 220_000, edge_dense=True)
    decision = dispatcher.decide(0.1, behind)
    assert decision.edge_ms == pytest.approx(100.0)
    assert decision.cloud_ms == pytest.approx(25.2, rel=0.02)
    assert decision.path == "cloud", "26.5 ms over the frames that it should stay for"
    assert dispatcher.decide(0.2, Workload(1.0, 0.16, 300_000, edge_dense=True)).path == "edge"
