"""One thread that runs the model, and the short queue in front of it."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from fluxshard_core.offload.messages import InferenceResult, ShardFrame

Handler = Callable[[ShardFrame], InferenceResult]
Deliver = Callable[[InferenceResult], None]

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
    backlog. ``deliver`` is called on the inference thread or on the submitter's.
    """

    def __init__(self, handler: Handler, max_waiting: int) -> None:
        self._handler = handler
        self._max_waiting = max_waiting
        self._waiting: dict[tuple[Hashable, str], _Job] = {}
        self._changed = threading.Condition()
        self._busy = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="fluxshard-inference", daemon=True)

    def start(self) -> None:
        """Start the inference thread."""
        self._thread.start()

    def submit(self, owner: Hashable, frame: ShardFrame, deliver: Deliver) -> None:
        """Queue a frame; what cannot be queued, or is replaced, is answered with an error."""
        key = (owner, frame.session)
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
        """Refuse new frames, finish those accepted, and end the thread.

        Return False if that took longer than ``timeout_s``: what waits is then answered with an
        error, and the thread ends when the handler returns.
        """
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)
            left = list(self._waiting.values())
            self._waiting.clear()
        for job in left:
            _deliver(job, InferenceResult.failure(job.frame, "the server is stopping"))
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive() and not left

    def _run(self) -> None:
        while (job := self._next()) is not None:
            _deliver(job, self._answer(job))
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if not self._waiting:
                return None
            self._busy = True
            return self._waiting.pop(next(iter(self._waiting)))

    def _answer(self, job: _Job) -> InferenceResult:
        frame = job.frame
        waited_ms = (time.perf_counter() - job.queued_s) * 1e3
        try:
            result = self._handler(frame)
            asked = (frame.session, frame.epoch, frame.number)
            if (result.session, result.epoch, result.number) != asked:
                raise RuntimeError("the handler answered another frame")
            return dataclasses.replace(result, stage_ms={**result.stage_ms, "queue": waited_ms})
        except Exception as error:
            _log.exception("inference failed: session %s, frame %d", frame.session, frame.number)
            return InferenceResult.failure(frame, f"{type(error).__name__}: {error}")


def _deliver(job: _Job, result: InferenceResult) -> None:
    try:
        job.deliver(result)
    except Exception:
        _log.exception("a result of session %s could not be delivered", result.session)
