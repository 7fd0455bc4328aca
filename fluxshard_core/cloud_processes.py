"""CloudProcesses: a cloud whose robots are spread over several processes of one machine.

Python holds one interpreter a process, and much of a sparse frame is Python: threads wait for it,
processes do not. A robot stays with its process, which alone has its features.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from time import monotonic
from typing import Any, BinaryIO, Final

from fluxshard_core.closing import Closing
from fluxshard_core.cloud_process import (
    DONE,
    FAILED,
    LENGTH,
    MOST_FRAMES,
    ProcessSettings,
    read_exactly,
    read_message,
)
from fluxshard_core.cloud_service import ServiceStatus
from fluxshard_core.errors import FluxShardError
from fluxshard_core.offload import wire
from fluxshard_core.offload.messages import InferenceResult, ShardFrame

_STOP_S: Final = 5.0
_LONGEST_S: Final = 120.0
"""To load the model, or to answer a request: a process that takes longer hangs, and is ended."""
_REST_S: Final = 5.0
"""Between two starts of a process that ends at once."""
_NOTHING: Final = ServiceStatus(0, 0.0, 0, 0, 0, 0)

_log = logging.getLogger(__name__)


class ProcessLostError(FluxShardError):
    """An inference process ended; its robots begin anew."""


class CloudProcesses(Closing):
    """``count`` processes, each with its part of the bounds; ``serve`` as for a `CloudService`.

    ``settings`` are those of all together. A process gets as many threads as are left by the
    others at work: a robot that is alone has all of them. One that ends is started again, its
    robots then send a whole frame. Use as a context manager: it returns when all are ready.

    :raises ProcessLostError: if one cannot be started; what it printed says why.
    """

    def __init__(self, settings: ProcessSettings, count: int) -> None:
        part = replace(
            settings,
            max_sessions=math.ceil(settings.max_sessions / count),
            max_memory_mb=settings.max_memory_mb / count,
        )
        self._threads, self._idle_s = settings.threads, settings.idle_s
        self._processes = [_Process(part) for _ in range(count)]
        self._homes: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()
        self._busy = 0

    def __enter__(self) -> CloudProcesses:
        try:
            for process in self._processes:
                process.start()
            for process in self._processes:
                process.wait_until_ready()
        except BaseException:
            self.close()
            raise
        return self

    @property
    def lanes(self) -> int:
        """How many serve at a time: a lane each."""
        return len(self._processes)

    def lane_of(self, session: str) -> int:
        """Return the process of a robot; a new one goes where the fewest are."""
        now = monotonic()
        with self._lock:
            while self._homes and now - next(iter(self._homes.values()))[1] > self._idle_s:
                self._homes.popitem(last=False)
            home = self._homes.pop(session, (-1, 0.0))[0]
            if home < 0:
                homes = [one for one, _ in self._homes.values()]
                home = min(range(self.lanes), key=homes.count)
            self._homes[session] = home, now
            return home

    def handle(self, frame: ShardFrame) -> InferenceResult:
        """Answer one request."""
        ((_, answer),) = self.serve([frame])
        return answer

    def serve(self, frames: Sequence[ShardFrame]) -> Iterator[tuple[int, InferenceResult]]:
        """Answer requests of robots of one process, as soon as each is known. Without frames,
        processes that have nothing to do let silent robots go.

        :raises ProcessLostError: when the process ends before the last answer.
        :raises RuntimeError: what went wrong in it.
        """
        if not frames:
            for process in self._processes:
                process.tidy_up()
            return
        (home,) = {self.lane_of(frame.session) for frame in frames}
        with self._lock:
            self._busy += 1
            threads = max(1, self._threads // self._busy)
        try:
            yield from self._processes[home].exchange(frames, threads)
        finally:
            with self._lock:
                self._busy -= 1

    @property
    def status(self) -> ServiceStatus:
        """The sum of what every process said last."""
        said = [process.status for process in self._processes]
        total = {
            one.name: sum(getattr(each, one.name) for each in said) for one in fields(_NOTHING)
        }
        return ServiceStatus(**{**total, "memory_mb": round(total["memory_mb"], 1)})

    def close(self) -> None:
        """End all processes."""
        for process in self._processes:
            process.hang_up()
        for process in self._processes:
            process.close()


class _Process:
    """One of them; a request at a time."""

    def __init__(self, settings: ProcessSettings) -> None:
        self._command = [sys.executable, "-m", "fluxshard_core.cloud_process", settings.to_json()]
        self._popen: subprocess.Popen[bytes] | None = None
        self._started_s = -math.inf
        self._lock = threading.Lock()
        self.status = _NOTHING

    def start(self) -> None:
        # A session of its own: Ctrl-C is for the parent, which lets it finish.
        self._started_s = monotonic()
        self._popen = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )

    def wait_until_ready(self) -> None:
        with self._bounded():
            for _ in self._answers(()):
                raise RuntimeError("an inference process answered before it was asked")

    def exchange(
        self, frames: Sequence[ShardFrame], threads: int
    ) -> Iterator[tuple[int, InferenceResult]]:
        with self._lock:
            if self._popen is None:
                self._restart()
            with self._bounded():
                try:
                    self._send(frames, threads)
                except OSError as error:
                    raise self._lost() from error
                yield from self._answers(frames)

    def tidy_up(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                if self._popen is not None:
                    with self._bounded():
                        self._send((), 1)
                    self.wait_until_ready()
            except (OSError, ProcessLostError):
                self._lost()
            finally:
                self._lock.release()

    def hang_up(self) -> None:
        if self._popen is not None:
            with contextlib.suppress(BrokenPipeError):
                self._stream("stdin").close()

    def close(self) -> None:
        self.hang_up()
        popen, self._popen = self._popen, None
        if popen is None:
            return
        assert popen.stdout is not None
        try:
            popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            popen.kill()
            popen.wait()
        popen.stdout.close()

    @contextlib.contextmanager
    def _bounded(self) -> Iterator[None]:
        """End the process if the block lasts too long: who waits for it then finds it gone."""
        assert self._popen is not None
        watchdog = threading.Timer(_LONGEST_S, self._popen.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            yield
        finally:
            watchdog.cancel()

    def _restart(self) -> None:
        if monotonic() - self._started_s < _REST_S:
            raise ProcessLostError("this robot's inference process ended and will be started again")
        self.start()
        self.wait_until_ready()

    def _send(self, frames: Sequence[ShardFrame], threads: int) -> None:
        assert len(frames) < MOST_FRAMES
        messages = [
            wire.encode(frame) for frame in frames
        ]  # what cannot be sent is no half request
        stream = self._stream("stdin")
        stream.write(bytes([len(frames), min(threads, 255)]))
        for encoded in messages:
            stream.write(encoded.prefix)
            stream.write(encoded.tail)
        stream.flush()

    def _answers(self, frames: Sequence[ShardFrame]) -> Iterator[tuple[int, InferenceResult]]:
        stream = self._stream("stdout")
        finished = False
        try:
            while (kind := read_exactly(stream, 1)[0]) < FAILED:
                answer = read_message(stream)
                assert isinstance(answer, InferenceResult)
                yield kind, answer
            (length,) = LENGTH.unpack(read_exactly(stream, LENGTH.size))
            said: dict[str, Any] = json.loads(bytes(read_exactly(stream, length)))
            finished = True
        except EOFError as error:
            raise self._lost() from error
        finally:
            if not finished:  # whoever asked went away: what is left of the answers is no use
                self._lost()
        if kind == FAILED:
            raise RuntimeError(said["reason"])
        assert kind == DONE
        self.status = ServiceStatus(**said)

    def _stream(self, name: str) -> BinaryIO:
        assert self._popen is not None
        stream: BinaryIO = getattr(self._popen, name)
        return stream

    def _lost(self) -> ProcessLostError:
        popen, self._popen = self._popen, None
        self.status = _NOTHING
        if popen is not None:
            popen.kill()
            code = popen.wait()
            for stream in (popen.stdin, popen.stdout):
                assert stream is not None
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
            _log.error("an inference process ended with status %d", code)
        return ProcessLostError("this robot's inference process ended: its next frame begins anew")
