"""One frame at a time, the newest of a session, every session in turn, each answered once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame


class Gate:
    """A handler that waits to be let through, and tells when it has begun."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Event()
        self.served: list[tuple[str, int]] = []

    def __call__(self, frame: ShardFrame) -> InferenceResult:
        self.begun.release()
        assert self.open.wait(5.0)
        self.served.append((frame.session, frame.number))
        return InferenceResult(frame.session, frame.epoch, frame.number, frame.stamp_ns)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Opened at the end, so that no thread outlives its test."""
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def worker(gate: Gate) -> Iterator[InferenceWorker]:
    """A started worker with three places that is drained at the end."""
    worker = InferenceWorker(gate, max_waiting=3)
    worker.start()
    yield worker
    gate.open.set()
    worker.drain(5.0)


Submit = Callable[..., None]


@pytest.fixture
def answers() -> dict[tuple[str, int], list[str]]:
    """The errors of the results delivered, by session and number; "" where all went well."""
    return {}


@pytest.fixture
def submit(
    worker: InferenceWorker,
    make_frame: Callable[..., ShardFrame],
    answers: dict[tuple[str, int], list[str]],
) -> Submit:
    """``submit(session, number, owner=)``."""

    def deliver(result: InferenceResult) -> None:
        answers.setdefault((result.session, result.number), []).append(result.error)

    def send(session: str, number: int, owner: str = "peer") -> None:
        worker.submit(owner, make_frame(number, session=session), deliver)

    return send


def test_a_newer_frame_replaces_the_one_that_waits_and_both_are_answered(
    gate: Gate, worker: InferenceWorker, submit: Submit, answers: dict[tuple[str, int], list[str]]
) -> None:
    submit("a", 1)
    assert gate.begun.acquire(timeout=5.0)
    submit("a", 2)
    submit("a", 3)
    gate.open.set()
    assert worker.drain(5.0)
    assert gate.served == [("a", 1), ("a", 3)]
    assert answers == {("a", 1): [""], ("a", 2): ["superseded"], ("a", 3): [""]}


def test_sessions_take_turns_whatever_one_of_them_sends(
    gate: Gate, worker: InferenceWorker, submit: Submit
) -> None:
    submit("a", 1)
    assert gate.begun.acquire(timeout=5.0)
    submit("b", 1)
    submit("a", 2)
    submit("b", 2)
    gate.open.set()
    assert worker.drain(5.0)
    assert gate.served == [("a", 1), ("b", 2), ("a", 2)]


def test_two_owners_with_one_session_name_do_not_replace_each_other(
    gate: Gate, worker: InferenceWorker, submit: Submit
) -> None:
    submit("x", 0)
    assert gate.begun.acquire(timeout=5.0)
    submit("a", 1, owner="one")
    submit("a", 2, owner="two")
    gate.open.set()
    assert worker.drain(5.0)
    assert gate.served == [("x", 0), ("a", 1), ("a", 2)]


def test_the_queue_is_bounded(
    gate: Gate, worker: InferenceWorker, submit: Submit, answers: dict[tuple[str, int], list[str]]
) -> None:
    submit("x", 0)
    assert gate.begun.acquire(timeout=5.0)
    for session in "abcd":
        submit(session, 1)
    assert answers == {("d", 1): ["the server is busy: 3 frames are waiting"]}


def test_what_a_lost_owner_left_is_not_run(
    gate: Gate, worker: InferenceWorker, submit: Submit
) -> None:
    submit("a", 1, owner="lost")
    assert gate.begun.acquire(timeout=5.0)
    submit("a", 2, owner="lost")
    submit("b", 1)
    worker.forget("lost")
    gate.open.set()
    assert worker.drain(5.0)
    assert gate.served == [("a", 1), ("b", 1)]


def test_a_drain_that_takes_too_long_answers_what_waits(
    gate: Gate, worker: InferenceWorker, submit: Submit, answers: dict[tuple[str, int], list[str]]
) -> None:
    submit("a", 1)
    assert gate.begun.acquire(timeout=5.0)
    submit("b", 1)
    assert not worker.drain(0.05)
    submit("c", 1)
    stopping = ["the server is stopping"]
    assert answers == {("b", 1): stopping, ("c", 1): stopping}


@pytest.mark.parametrize("answer", ["raise", "other", "nothing"])
def test_a_handler_that_fails_is_an_error_of_that_frame_only(
    make_frame: Callable[..., ShardFrame], answer: str, caplog: pytest.LogCaptureFixture
) -> None:
    def handler(frame: ShardFrame) -> InferenceResult:
        number = frame.number
        if number == 1:
            if answer == "raise":
                raise MemoryError("out of memory")
            if answer == "nothing":
                return None  # type: ignore[return-value]
            number += 1
        return InferenceResult(frame.session, frame.epoch, number, frame.stamp_ns)

    results: list[InferenceResult] = []
    worker = InferenceWorker(handler, max_waiting=4)
    for number in (1, 2):
        worker.submit(number, make_frame(number), results.append)
    worker.start()
    assert worker.drain(5.0)
    assert [result.number for result in results] == [1, 2]
    assert results[0].error
    assert results[1].error == ""
    assert "frame 1" in caplog.text


def test_the_wait_in_the_queue_is_reported_beside_the_handler_s_stages(
    make_frame: Callable[..., ShardFrame], echo: Callable[[ShardFrame], InferenceResult]
) -> None:
    results: list[InferenceResult] = []
    worker = InferenceWorker(echo, max_waiting=1)
    worker.submit("peer", make_frame(), results.append)
    threading.Event().wait(0.02)
    worker.start()
    assert worker.drain(5.0)
    assert results[0].stage_ms["model"] == 1.5
    assert results[0].stage_ms["queue"] >= 20
