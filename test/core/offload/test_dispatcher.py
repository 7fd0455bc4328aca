"""The dispatcher's settings, what it refuses to learn from, and its moving average."""

from __future__ import annotations

import math

import pytest

from fluxshard_core.errors import InputError
from fluxshard_core.offload.bandwidth import BandwidthEstimator
from fluxshard_core.offload.dispatcher import Decision, Dispatcher, DispatcherConfig
from fluxshard_core.offload.ewma import Ewma
from fluxshard_core.offload.latency_model import LatencyModel, Workload
from fluxshard_core.offload.side_cost import LearnedCost


def _dispatcher() -> Dispatcher:
    return Dispatcher(LatencyModel(LearnedCost(), LearnedCost(), BandwidthEstimator()))


def test_a_side_that_is_not_measured_yet_is_tried_first() -> None:
    dispatcher, work = _dispatcher(), Workload(1.0, 1.0, 0)
    assert dispatcher.decide(0.0, work) == Decision("edge", None, None, "not measured yet")
    dispatcher.record("edge", 500.0)
    assert dispatcher.decide(0.0, work).path == "edge", "a first frame tells nothing"
    dispatcher.record("edge", 5.0)
    assert dispatcher.decide(0.0, work) == Decision("cloud", 5.0, None, "not measured yet")


@pytest.mark.parametrize("latency_ms", [-1.0, math.nan, math.inf])
def test_impossible_latencies_are_refused(latency_ms: float) -> None:
    with pytest.raises(InputError):
        _dispatcher().record("edge", latency_ms)


@pytest.mark.parametrize(
    "settings",
    [
        {"epsilon": -0.1},
        {"epsilon": math.nan},
        {"probe_after": 0},
        {"probe_share": 1.0},
        {"hysteresis": -1.0},
        {"stay": 0},
    ],
    ids=str,
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, float]) -> None:
    (name,) = settings
    with pytest.raises(InputError, match=f"dispatcher {name}"):
        DispatcherConfig(**settings)  # type: ignore[arg-type]


def test_the_average_starts_at_the_first_sample_and_forgets() -> None:
    average = Ewma(weight=0.25)
    assert average.value is None
    average.add(8.0)
    assert average.value == 8.0
    average.add(0.0)
    assert average.value == 6.0
