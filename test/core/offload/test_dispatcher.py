"""The side expected to answer sooner runs the frame, and both stay measured."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload.dispatcher import Decision, Dispatcher, DispatcherConfig
from fluxshard_core.offload.ewma import Ewma


def _measured(edge_ms: float, cloud_ms: float, **settings: Any) -> Dispatcher:
    """A dispatcher that has seen each side once."""
    dispatcher = Dispatcher(DispatcherConfig(**settings))
    for _ in range(2):
        path = dispatcher.decide(0.0).path
        dispatcher.record(path, edge_ms if path == "edge" else cloud_ms)
    return dispatcher


def _run(dispatcher: Dispatcher, frames: int, edge_ms: float, cloud_ms: float) -> list[Decision]:
    decisions = []
    for _ in range(frames):
        decision = dispatcher.decide(0.0)
        dispatcher.record(decision.path, edge_ms if decision.path == "edge" else cloud_ms)
        decisions.append(decision)
    return decisions


def test_a_side_that_is_not_measured_yet_is_tried_first() -> None:
    dispatcher = Dispatcher(DispatcherConfig())
    first = dispatcher.decide(0.0)
    assert first == Decision("edge", None, None, "not measured yet")
    dispatcher.record("edge", 5.0)
    assert dispatcher.decide(0.0) == Decision("cloud", 5.0, None, "not measured yet")


@pytest.mark.parametrize(
    ("edge_ms", "cloud_ms", "path", "reason"),
    [
        (50.0, 20.0, "cloud", "expected sooner"),
        (50.0, 50.0, "cloud", "expected sooner"),
        (50.0, 54.9, "cloud", "within epsilon"),
        (50.0, 55.1, "edge", "expected sooner"),
    ],
)
def test_the_sooner_side_wins_and_within_epsilon_the_cloud(
    edge_ms: float, cloud_ms: float, path: str, reason: str
) -> None:
    decision = _measured(edge_ms, cloud_ms).decide(0.0)
    assert (decision.path, decision.reason) == (path, reason)
    assert (decision.edge_ms, decision.cloud_ms) == (edge_ms, cloud_ms)


@pytest.mark.parametrize(("edge_ms", "cloud_ms", "slower"), [(20, 90, "cloud"), (90, 20, "edge")])
def test_the_slower_side_is_probed_once_in_every_n_frames(
    edge_ms: float, cloud_ms: float, slower: str
) -> None:
    decisions = _run(_measured(edge_ms, cloud_ms, probe_every=10), 100, edge_ms, cloud_ms)
    probes = [index for index, decision in enumerate(decisions) if decision.path == slower]
    assert len(probes) == 10
    assert {b - a for a, b in itertools.pairwise(probes)} == {10}
    assert {decisions[index].reason for index in probes} == {"probe"}


def test_a_side_that_becomes_faster_is_found_by_probing() -> None:
    decisions = _run(_measured(20.0, 90.0, probe_every=10), 30, 20.0, 5.0)
    assert [decision.path for decision in decisions[:15]].count("cloud") >= 5


def test_one_slow_first_frame_is_forgotten_within_two_probes() -> None:
    decisions = _run(_measured(2000.0, 40.0, probe_every=10), 30, 10.0, 40.0)
    assert [decision.path for decision in decisions[20:]].count("edge") >= 8


def test_a_failed_link_keeps_the_cloud_away_for_growing_capped_times() -> None:
    dispatcher = _measured(90.0, 20.0, first_backoff_s=1.0, max_backoff_s=3.0)
    now_s = 0.0
    for pause_s in (1.0, 2.0, 3.0, 3.0):
        dispatcher.link_failed(now_s)
        blocked = dispatcher.decide(now_s + pause_s - 0.01)
        assert blocked.path == "edge"
        assert "blocked" in blocked.reason
        now_s += pause_s
        assert dispatcher.decide(now_s).path == "cloud"


def test_a_success_shortens_the_next_block_again() -> None:
    dispatcher = _measured(90.0, 20.0, first_backoff_s=1.0, max_backoff_s=60.0)
    for _ in range(4):
        dispatcher.link_failed(0.0)
    dispatcher.record("cloud", 20.0)
    dispatcher.link_failed(100.0)
    assert dispatcher.decide(101.0).path == "cloud"


def test_a_cloud_that_never_answered_is_tried_again_after_each_block() -> None:
    dispatcher = Dispatcher(DispatcherConfig(first_backoff_s=1.0))
    dispatcher.record("edge", 10.0)
    assert dispatcher.decide(0.0).path == "cloud"
    dispatcher.link_failed(0.0)
    assert [dispatcher.decide(0.1 * tick).path for tick in range(9)] == ["edge"] * 9
    assert dispatcher.decide(1.0).path == "cloud"


@pytest.mark.parametrize("latency_ms", [-1.0, math.nan, math.inf])
def test_impossible_latencies_are_refused(latency_ms: float) -> None:
    with pytest.raises(InputError):
        Dispatcher().record("edge", latency_ms)


@pytest.mark.parametrize(
    "settings",
    [
        {"epsilon": -0.1},
        {"epsilon": math.nan},
        {"weight": 0.0},
        {"weight": 1.1},
        {"probe_every": 1},
        {"first_backoff_s": 0.0},
        {"first_backoff_s": 20.0},
        {"max_backoff_s": math.inf},
    ],
    ids=str,
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(InputError, match="dispatcher"):
        DispatcherConfig(**settings)  # type: ignore[arg-type]
    assert hasattr(DispatcherConfig(), name)


def test_the_average_starts_at_the_first_sample_and_forgets() -> None:
    average = Ewma(weight=0.25)
    assert average.value is None
    average.add(8.0)
    assert average.value == 8.0
    average.add(0.0)
    assert average.value == 6.0


def test_a_sample_after_a_pause_counts_for_the_steps_it_missed() -> None:
    paused, steady = Ewma(weight=0.25, value=8.0), Ewma(weight=0.25, value=8.0)
    paused.add(1.0, steps=4)
    for _ in range(4):
        steady.add(1.0)
    assert paused.value == pytest.approx(steady.value)
