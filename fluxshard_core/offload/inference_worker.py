"""The lanes that run the model, a thread each, and the short queue in front of them."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fluxshard_core.offload.messages import InferenceResult, ShardFrame

Handler = Callable[[ShardFrame], InferenceResult]
BatchHandler = Callable[[Sequence[ShardFrame]], Iterable[tuple[int, InferenceResult]]]
Deliver = Callable[[InferenceResult], None]

_Key = tuple[Hashable, str, bool]

MAX_BATCH: Final = 8
_IDLE_CALL_S: Final = 5.0
_MOSTLY: Final = 0.8
"""Share of critical blocks from which a frame counts as whole: it fills a pass by itself."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    frame: ShardFrame
    deliver: Deliver
    queued_s: float


class InferenceWorker:
    """Answers every submitted frame exactly once, unless its owner forgets it first.

    Each session of an owner (a connection) has one place in the queue: a newer frame takes the
    place of one that still waits, so sessions are served in turn and none waits behind another's
    backlog. Background work has a place of its own, and only comes before frames that build on it.
    ``deliver`` is called on a lane or on the submitter's thread.

    With ``serve`` a turn takes up to ``max_batch`` frames, those that wait longest, but only one
    whole frame: a robot that sends few blocks waits for one whole frame of others at most.

    Each of ``lanes`` takes a turn of its own, as soon as it has nothing to do, and no more than
    its share of what waits. One session's frames are never in two lanes at once; where
    ``lane_of`` names a session's lane, no other takes them.
    """

    def __init__(
        self,
        handler: Handler,
        max_waiting: int,
        *,
        serve: BatchHandler | None = None,
        max_batch: int = MAX_BATCH,
        lanes: int = 1,
        lane_of: Callable[[str], int] | None = None,
    ) -> None:
        self._handler = handler
        self._serve = serve
        self._max_waiting = max_waiting
        self._max_batch = max_batch if serve is not None else 1
        self._waiting: dict[_Key, _Job] = {}
        self._changed = threading.Condition()
        self._running: set[str] = set()
        self._stopping = False
        self._lanes = [
            threading.Thread(
                target=self._run, args=(lane,), name=f"fluxshard-inference-{lane}", daemon=True
            )
            for lane in range(lanes)
        ]
        self._lane_of = lane_of

    def start(self) -> None:
        """Start the lanes."""
        for lane in self._lanes:
            lane.start()

    def submit(self, owner: Hashable, frame: ShardFrame, deliver: Deliver) -> None:
        """Queue a frame; what cannot be queued, or is replaced, is answered with an error."""
        key = (owner, frame.session, frame.background)
        refused: tuple[_Job, str] | None = None
        job = _Job(frame, deliver, time.perf_counter())
        with self._changed:
            replaced = self._waiting.get(key)
            if self._stopping:
                refused = job, "the server is stopping"
            elif replaced is None and len(self._waiting) >= self._max_waiting:
                refused = job, f"the server is busy: {self._max_waiting} frames are waiting"
            else:
                self._waiting[key] = job
                self._changed.notify_all()
                if replaced is not None:
                    refused = replaced, "superseded"
        if refused is not None:
            _deliver(refused[0], InferenceResult.failure(refused[0].frame, refused[1]))

    def forget(self, owner: Hashable) -> None:
        """Drop what an owner that is gone still has waiting."""
        with self._changed:
            for key in [key for key in self._waiting if key[0] == owner]:
                del self._waiting[key]
            self._changed.notify_all()

    def drain(self, timeout_s: float) -> bool:
        """Refuse new frames, finish those accepted, and end the lanes.

        Return False if that took longer than ``timeout_s``: what waits is then answered with an
        error, and a lane ends when the handler returns.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._running, timeout_s)
            left = list(self._waiting.values())
            self._waiting.clear()
            self._changed.notify_all()
        for job in left:
            _deliver(job, InferenceResult.failure(job.frame, "the server is stopping"))
        for lane in self._lanes:
            lane.join(max(0.0, deadline - time.monotonic()))
        return not any(lane.is_alive() for lane in self._lanes) and not left

    def _run(self, lane: int) -> None:
        while (jobs := self._next(lane)) is not None:
            self._answer(jobs)
            with self._changed:
                self._running -= {job.frame.session for job in jobs}
                self._changed.notify_all()

    def _next(self, lane: int) -> list[_Job] | None:
        """Wait for frames and take those of one turn; none after a while, None at the end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._due(lane) or (self._stopping and not self._waiting), _IDLE_CALL_S
            )
            if self._stopping and not self._waiting:
                return None
            jobs = [self._waiting.pop(key) for key in self._turn(lane)]
            self._running |= {job.frame.session for job in jobs}
            return jobs

    def _turn(self, lane: int) -> list[_Key]:
        chosen: list[_Key] = []
        whole_taken = False
        due = self._due(lane)
        sharing = len(self._lanes) if self._lane_of is None else 1
        most = min(self._max_batch, -(-len(due) // sharing))
        for key, job in due:
            whole = _is_whole(job.frame)
            if len(chosen) < most and not (whole and whole_taken):
                chosen.append(key)
                whole_taken |= whole
        return chosen

    def _due(self, lane: int) -> list[tuple[_Key, _Job]]:
        """What waits for this lane and is in none, in order; background work only if its robot
        waits for more, or none does."""
        free = [
            item
            for item in self._waiting.items()
            if item[0][1] not in self._running
            and (self._lane_of is None or self._lane_of(item[0][1]) == lane)
        ]
        urgent = {key[:2] for key, _ in free if not key[2]}
        return [item for item in free if not urgent or item[0][:2] in urgent]

    def _answer(self, jobs: list[_Job]) -> None:
        """Deliver an answer to every job, and make a failure one of those it left unanswered."""
        started_s = time.perf_counter()
        left = dict(enumerate(jobs))
        try:
            for index, result in self._results([job.frame for job in jobs]):
                job = left[index]
                _check_answers(result, job.frame)
                del left[index]
                waited_ms = (started_s - job.queued_s) * 1e3
                stages = {**result.stage_ms, "queue": waited_ms}
                _deliver(job, dataclasses.replace(result, stage_ms=stages))
            if left:
                raise RuntimeError("the handler gave no answer")
        except Exception as error:
            for job in left.values():
                frame = job.frame
                _log.exception(
                    "inference failed: session %s, frame %d", frame.session, frame.number
                )
                reason = f"{type(error).__name__}: {error}"
                _deliver(job, InferenceResult.failure(frame, reason))
            if not left:
                _log.exception("the handler failed after its last answer")

    def _results(self, frames: list[ShardFrame]) -> Iterable[tuple[int, InferenceResult]]:
        if self._serve is not None:
            return self._serve(frames)
        return ((index, self._handler(frame)) for index, frame in enumerate(frames))


def _is_whole(frame: ShardFrame) -> bool:
    return not frame.critical or bool(frame.critical[min(frame.critical)].mean() > _MOSTLY)


def _check_answers(result: InferenceResult, frame: ShardFrame) -> None:
    asked = frame.session, frame.epoch, frame.number
    if (result.session, result.epoch, result.number) != asked:
        raise RuntimeError("the handler answered another frame")


def _deliver(job: _Job, result: InferenceResult) -> None:
    try:
        job.deliver(result)
    except Exception:
        _log.exception("a result of session %s could not be delivered", result.session)
