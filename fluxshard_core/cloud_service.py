"""The cloud's answer to every robot: one `CloudSession` each, in bounds of number and memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic

from fluxshard_core.errors import FluxShardError
from fluxshard_core.models.detector import Detector
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.session import CloudSession, Engine
from fluxshard_core.session.cloud import Turn, check_model, session_bytes
from fluxshard_core.shared_cores import SharedCores
from fluxshard_core.sparse.together import run_together

MAX_SESSIONS = 16
MAX_MEMORY_MB = 4096
IDLE_S = 60.0

_MB = 2**20


class CloudFullError(FluxShardError):
    """There is no place, or no memory, for another robot."""


@dataclass
class _Place:
    """``bytes``: memory that is held or set aside; ``busy``: a frame of it is being served."""

    session: CloudSession
    last_used_s: float
    bytes: int = 0
    busy: bool = False


@dataclass(frozen=True)
class ServiceStatus:
    """Sessions now and the memory they hold; what happened to others since the start.

    ``frames`` answered by ``passes`` over the network: their ratio is the mean batch.
    """

    sessions: int
    memory_mb: float
    refused: int
    evicted: int
    frames: int
    passes: int


class CloudService:
    """Routes requests to their robots' sessions, from several threads at a time; those of one
    session come one after the other.

    As many threads compute as PyTorch had when the service was made, divided among the calls;
    ``cores`` divides them.

    A robot keeps its session over reconnections; after ``idle_s`` seconds of silence it is
    evicted. A new robot is refused with the reason while ``max_sessions`` are in use, or where its
    features do not fit into what the others leave of ``max_memory_mb``. The weights, one set for
    each input size, are not counted.
    """

    def __init__(
        self,
        model: Detector | Engine,
        *,
        max_sessions: int = MAX_SESSIONS,
        max_memory_mb: float = MAX_MEMORY_MB,
        idle_s: float = IDLE_S,
        cores: SharedCores | None = None,
    ) -> None:
        self.engine = model if isinstance(model, Engine) else Engine(model)
        self._max_sessions = max_sessions
        self._max_memory_mb = max_memory_mb
        self._idle_s = idle_s
        self.cores = cores or SharedCores()
        self._places: OrderedDict[str, _Place] = OrderedDict()
        self._lock = threading.Lock()
        self._refused = self._evicted = self._frames = self._passes = 0

    def handle(self, frame: ShardFrame) -> InferenceResult:
        """Answer one request; what is wrong with it is said in ``InferenceResult.error``."""
        return self.handle_many([frame])[0]

    def handle_many(self, frames: Sequence[ShardFrame]) -> list[InferenceResult]:
        """Answer several requests, those that reuse features in one pass over the network."""
        answers = dict(self.serve(frames))
        return [answers[index] for index in range(len(frames))]

    def serve(self, frames: Sequence[ShardFrame]) -> Iterator[tuple[int, InferenceResult]]:
        """As :meth:`handle_many`, but give every answer, with its place in ``frames``, as soon as
        it is known: nobody waits for the whole frames of others. Without frames it only evicts."""
        self._evict_silent()
        left = list(enumerate(frames))
        while left:
            first = {frame.session: index for index, frame in reversed(left)}
            now = [(index, frame) for index, frame in left if first[frame.session] == index]
            left = [(index, frame) for index, frame in left if first[frame.session] != index]
            with self.cores.lane():
                yield from self._serve_round(now)

    @property
    def status(self) -> ServiceStatus:
        """What is held now, and the counts; any thread may ask."""
        with self._lock:
            return ServiceStatus(
                len(self._places),
                round(self._held_bytes() / _MB, 1),
                self._refused,
                self._evicted,
                self._frames,
                self._passes,
            )

    def _evict_silent(self) -> None:
        with self._lock:
            for name, place in list(self._places.items()):
                if place.busy:
                    continue
                if monotonic() - place.last_used_s < self._idle_s:
                    return
                del self._places[name]
                self._evicted += 1

    def _serve_round(
        self, frames: Sequence[tuple[int, ShardFrame]]
    ) -> Iterator[tuple[int, InferenceResult]]:
        """Serve frames of different sessions."""
        shared: list[tuple[int, _Place, Turn]] = []
        whole: list[tuple[int, _Place, Turn]] = []
        try:
            for index, frame in frames:
                prepared = self._prepare(frame)
                if isinstance(prepared, InferenceResult):
                    yield index, prepared
                    continue
                job = prepared[1].job
                group = whole if job.executor.runs_whole(job.schedule) else shared
                group.append((index, *prepared))
            for batch in (shared, *([one] for one in whole)):
                if batch:
                    yield from self._run(batch)
        finally:
            for _, place, turn in shared + whole:
                self._release(turn.frame.session, place)

    def _prepare(self, frame: ShardFrame) -> tuple[_Place, Turn] | InferenceResult:
        place: _Place | None = None
        try:
            place = self._place_for(frame)
            return place, place.session.prepare(frame)
        except Exception as error:
            if place is not None:
                self._release(frame.session, place)
            if not isinstance(error, FluxShardError):
                raise
            return InferenceResult.failure(frame, str(error))

    def _run(
        self, batch: Sequence[tuple[int, _Place, Turn]]
    ) -> Iterator[tuple[int, InferenceResult]]:
        started = monotonic()
        jobs = [turn.job for _, _, turn in batch]
        with self.cores.wide(sum(job.multiply_accumulates for job in jobs)):
            runs = run_together(jobs)
        spent_ms = (monotonic() - started) * 1e3
        with self._lock:
            self._passes += 1
            self._frames += len(batch)
        for (index, place, turn), run in zip(batch, runs, strict=True):
            turn.timer.stage_ms["infer"] = spent_ms
            yield index, place.session.answer(turn, run)

    def _place_for(self, frame: ShardFrame) -> _Place:
        """Return the robot's place, a new one if there is room."""
        check_model(self.engine, frame)
        size = frame.letterbox.input_height, frame.letterbox.input_width
        with self._lock:
            place = self._places.get(frame.session)
            if place is not None and place.session.size == size:
                place.busy = True
                return place
        needed = session_bytes(self.engine, size)  # may have to prepare the network first
        with self._lock:
            place = self._places.get(frame.session)
            self._check_room(place, size, needed)
            if place is None:
                place = self._places[frame.session] = _Place(CloudSession(self.engine), monotonic())
            place.bytes, place.busy = needed, True
            return place

    def _check_room(self, place: _Place | None, size: tuple[int, int], needed: int) -> None:
        when = f"or wait until one has been silent for {self._idle_s:g} s"
        if place is None and len(self._places) >= self._max_sessions:
            self._refused += 1
            raise CloudFullError(
                f"this cloud already serves {self._max_sessions} robots; raise max_sessions {when}"
            )
        held = self._held_bytes() - (place.bytes if place else 0)
        if held + needed > self._max_memory_mb * _MB:
            self._refused += 1
            raise CloudFullError(
                f"this cloud has no memory for another robot: {held / _MB:.0f} of "
                f"{self._max_memory_mb:g} MB are held, and {size[0]}x{size[1]} inputs need "
                f"{needed / _MB:.0f} MB; raise max_memory_mb, send smaller inputs, {when}"
            )

    def _held_bytes(self) -> int:
        return sum(place.bytes for place in self._places.values())

    def _release(self, name: str, place: _Place) -> None:
        """Let a place wait for the next frame; one that never got a frame is given up."""
        with self._lock:
            place.last_used_s, place.busy = monotonic(), False
            place.bytes = place.session.bytes
            self._places.move_to_end(name)
            if place.session.size is None:
                del self._places[name]
