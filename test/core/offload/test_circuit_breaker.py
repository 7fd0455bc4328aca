"""A cloud that is late or refuses is asked less and less often, by one request at a time."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

import pytest

from fluxshard_core.offload.backoff import Backoff
from fluxshard_core.offload.circuit_breaker import Circuit, CircuitBreaker
from fluxshard_core.offload.client import TcpTransport
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.server import InferenceServer
from fluxshard_core.offload.transport import LinkDown, LinkTimeout


@pytest.fixture
def breaker() -> CircuitBreaker:
    return CircuitBreaker(3, Backoff(1.0, 8.0, random.Random(1)))


def _open(breaker: CircuitBreaker, now_s: float) -> float:
    """Three timeouts; return when the next request may pass."""
    for _ in range(3):
        assert breaker.admit(now_s) == 0.0
        breaker.failed(now_s)
    return now_s + breaker.admit(now_s)


def test_it_opens_after_timeouts_in_a_row_only(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.answered()
    assert breaker.state(0.0) is Circuit.CLOSED
    assert 0.5 <= _open(breaker, 0.0) <= 1.0
    assert breaker.state(0.0) is Circuit.OPEN


def test_after_the_pause_one_request_tries_and_an_answer_closes(breaker: CircuitBreaker) -> None:
    again_s = _open(breaker, 0.0)
    assert breaker.state(again_s) is Circuit.HALF_OPEN
    assert breaker.admit(again_s) == 0.0
    assert breaker.admit(again_s) > 0.0, "a second one waits for the first"
    breaker.answered()
    assert breaker.state(again_s) is Circuit.CLOSED
    assert [breaker.admit(again_s) for _ in range(3)] == [0.0] * 3


def test_a_failed_trial_lengthens_the_pause_up_to_its_cap(breaker: CircuitBreaker) -> None:
    now_s, pauses = _open(breaker, 0.0), []
    for _ in range(8):
        assert breaker.admit(now_s) == 0.0
        breaker.failed(now_s)
        pauses.append(breaker.admit(now_s))
        now_s += pauses[-1]
    assert pauses[0] < pauses[2]
    assert max(pauses) <= 8.0


def test_a_trial_that_ended_for_another_reason_frees_its_place(breaker: CircuitBreaker) -> None:
    again_s = _open(breaker, 0.0)
    assert breaker.admit(again_s) == 0.0
    breaker.abandoned()
    assert breaker.admit(again_s) == 0.0


def test_refusals_in_a_row_open_it_too_and_one_does_not(
    serve: Callable[..., InferenceServer],
    connect: Callable[..., TcpTransport],
    make_frame: Callable[..., ShardFrame],
    echo: Callable[[ShardFrame], InferenceResult],
) -> None:
    def handler(frame: ShardFrame) -> InferenceResult:
        return InferenceResult.failure(frame, "full") if frame.number % 4 else echo(frame)

    transport = connect(serve(handler).port, first_pause_s=30.0, max_pause_s=30.0)
    for number in (1, 4, 5, 8, 9):
        assert bool(transport.infer(make_frame(number), 5.0).error) == bool(number % 4)
    assert transport.infer(make_frame(10), 5.0).error == "full"
    assert transport.circuit is Circuit.OPEN


def test_a_cloud_that_is_always_late_stops_costing_the_robot_its_deadlines(
    serve: Callable[..., InferenceServer],
    connect: Callable[..., TcpTransport],
    make_frame: Callable[..., ShardFrame],
    echo: Callable[[ShardFrame], InferenceResult],
) -> None:
    late = threading.Event()
    late.set()

    def handler(frame: ShardFrame) -> InferenceResult:
        threading.Event().wait(0.15 if late.is_set() else 0.0)
        return echo(frame)

    transport = connect(serve(handler).port, first_pause_s=0.2, max_pause_s=0.2, failure_limit=3)
    for number in range(3):
        with pytest.raises(LinkTimeout):
            transport.infer(make_frame(number), 0.05)
    for number in range(3, 10):
        with pytest.raises(LinkDown, match="does not serve; it is tried again in 0"):
            transport.infer(make_frame(number), 0.05)
    assert transport.connected
    assert transport.circuit is Circuit.OPEN
    assert not transport.available
    assert transport.counters.not_sent == 7
    late.clear()
    threading.Event().wait(0.5)
    assert transport.circuit is Circuit.HALF_OPEN
    assert transport.available
    assert transport.infer(make_frame(20), 5.0).number == 20
    assert transport.circuit is Circuit.CLOSED
    assert transport.counters.timeouts == 3
    assert transport.counters.late_answers >= 1
