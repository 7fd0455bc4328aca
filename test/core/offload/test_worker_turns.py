"""A turn of the inference thread: all that wait, one whole frame, nobody twice before another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fluxshard_core.offload.inference_worker import InferenceWorker
from fluxshard_core.offload.messages import InferenceResult, ShardFrame


class Gate:
    """Serves turns one after another, each when let through; remembers who was in which."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self.turns: list[list[str]] = []
        self.skip: set[str] = set()

    def serve(self, frames: Sequence[ShardFrame]) -> Iterator[tuple[int, InferenceResult]]:
        if not frames:
            return
        self.turns.append([frame.session for frame in frames])
        self.begun.release()
        assert self.open.acquire(timeout=5.0)
        for index, frame in reversed(list(enumerate(frames))):
            if frame.session == "broken":
                raise ZeroDivisionError("broken")
            if frame.session not in self.skip:
                yield index, InferenceResult(frame.session, frame.epoch, frame.number, 0)

    @staticmethod
    def handle(frame: ShardFrame) -> InferenceResult:
        raise AssertionError("with serve there is no single handling")


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def worker(gate: Gate) -> Iterator[InferenceWorker]:
    """A started worker that takes up to three frames a turn, drained at the end."""
    worker = InferenceWorker(gate.handle, max_waiting=16, serve=gate.serve, max_batch=3)
    worker.start()
    yield worker
    gate.open.release(100)
    worker.drain(5.0)


Submit = Callable[..., None]


@pytest.fixture
def answers() -> list[tuple[str, str]]:
    """Session and error of what was delivered, in order."""
    return []


@pytest.fixture
def submit(
    worker: InferenceWorker,
    make_frame: Callable[..., ShardFrame],
    answers: list[tuple[str, str]],
) -> Submit:
    def send(session: str, *, whole: bool = False, background: bool = False) -> None:
        frame = make_frame(1, session=session)
        box = frame.letterbox
        critical = np.zeros((box.input_height // 16, box.input_width // 16), dtype=bool)
        frame = replace(frame, critical={} if whole else {2: critical}, background=background)
        worker.submit("peer", frame, lambda result: answers.append((result.session, result.error)))

    return send


def test_a_turn_takes_those_that_wait_longest_up_to_the_cap(
    gate: Gate, worker: InferenceWorker, submit: Submit
) -> None:
    submit("first")
    assert gate.begun.acquire(timeout=5.0)
    for session in ("a", "b", "c", "d", "first"):
        submit(session)
    gate.open.release(3)
    assert worker.drain(5.0)
    assert gate.turns == [["first"], ["a", "b", "c"], ["d", "first"]]


def test_a_turn_has_room_for_one_whole_frame_and_those_with_few_blocks_go_past(
    gate: Gate, worker: InferenceWorker, submit: Submit
) -> None:
    submit("first")
    assert gate.begun.acquire(timeout=5.0)
    submit("heavy", whole=True)
    submit("heavier", whole=True)
    submit("light")
    gate.open.release(3)
    assert worker.drain(5.0)
    assert gate.turns == [["first"], ["heavy", "light"], ["heavier"]]


def test_lanes_share_what_waits_and_no_session_is_in_two_of_them(
    gate: Gate, make_frame: Callable[..., ShardFrame]
) -> None:
    lanes = InferenceWorker(gate.handle, max_waiting=16, serve=gate.serve, max_batch=8, lanes=2)
    answers: list[str] = []

    def send(session: str, number: int, owner: str = "peer") -> None:
        lanes.submit(
            owner, make_frame(number, session=session), lambda result: answers.append(result.error)
        )

    lanes.start()
    send("a", 1)
    assert gate.begun.acquire(timeout=5.0)
    send("a", 2, owner="reconnected")
    assert not gate.begun.acquire(timeout=0.1), "another frame of it is being served"
    for session in "bcd":
        send(session, 1)
    assert gate.begun.acquire(timeout=5.0)
    gate.open.release(100)
    assert lanes.drain(5.0)
    assert gate.turns[0] == ["a"]
    assert set(gate.turns[1]) <= set("bcd")
    assert len(gate.turns[1]) <= 2, "one lane leaves the other its share"
    assert sorted(session for turn in gate.turns for session in turn) == list("aabcd")
    assert answers == [""] * 5


def test_background_work_waits_for_the_frames_of_others_and_goes_before_its_own(
    gate: Gate, worker: InferenceWorker, submit: Submit, answers: list[tuple[str, str]]
) -> None:
    submit("first")
    assert gate.begun.acquire(timeout=5.0)
    for session in ("idle", "a", "b"):
        submit(session, background=True)
    submit("b")
    submit("c")
    gate.open.release(3)
    assert worker.drain(5.0)
    assert gate.turns == [["first"], ["b", "b", "c"], ["idle", "a"]]
    assert [error for _, error in answers] == [""] * 6, "a frame does not replace it"


def test_whole_frames_are_never_passed_by_other_whole_frames(
    gate: Gate, worker: InferenceWorker, submit: Submit
) -> None:
    submit("first", whole=True)
    assert gate.begun.acquire(timeout=5.0)
    for session in ("a", "b", "first", "c"):
        submit(session, whole=True)
    gate.open.release(5)
    assert worker.drain(5.0)
    assert gate.turns == [["first"], ["a"], ["b"], ["first"], ["c"]]


def test_every_answer_is_delivered_as_soon_as_it_is_known(
    gate: Gate, worker: InferenceWorker, submit: Submit, answers: list[tuple[str, str]]
) -> None:
    submit("first")
    assert gate.begun.acquire(timeout=5.0)
    for session in ("a", "b", "c"):
        submit(session)
    gate.open.release(2)
    assert worker.drain(5.0)
    assert answers == [(session, "") for session in ("first", "c", "b", "a")]


def test_who_is_left_without_an_answer_gets_a_failure(
    gate: Gate, worker: InferenceWorker, submit: Submit, answers: list[tuple[str, str]]
) -> None:
    gate.skip = {"a"}
    submit("first")
    assert gate.begun.acquire(timeout=5.0)
    for session in ("a", "broken", "c"):
        submit(session)
    submit("a")
    gate.open.release(3)
    assert worker.drain(5.0)
    errors = dict(answers)
    assert errors["first"] == errors["c"] == ""
    assert errors["broken"] == errors["a"] == "ZeroDivisionError: broken"


def test_without_frames_the_service_is_called_to_tidy_up(
    make_frame: Callable[..., ShardFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fluxshard_core.offload.inference_worker._IDLE_CALL_S", 0.02)
    called = threading.Event()

    def serve(frames: Sequence[ShardFrame]) -> Iterator[tuple[int, InferenceResult]]:
        assert not frames
        called.set()
        return iter(())

    worker = InferenceWorker(Gate.handle, max_waiting=1, serve=serve)
    worker.start()
    assert called.wait(5.0)
    assert worker.drain(5.0)
