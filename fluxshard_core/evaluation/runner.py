"""Run every method over every sequence and score it against the dense run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from time import perf_counter

import numpy as np

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.method import Method, MethodResult
from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.metrics import FrameScore, region_similarity, score_frame
from fluxshard_core.evaluation.rows import Row, mean
from fluxshard_core.evaluation.sequences import EvaluatedSequence, read_objects
from fluxshard_core.models.detections import Detections
from fluxshard_core.motion.encoder import EncoderMotion

FrameDone = Callable[[str, str], None]
"""Called after every frame with the sequence's name and what ran (a method, or "reference")."""

REFERENCE = "reference"


@dataclass(frozen=True)
class Series:
    """What one method did in each scored frame of one sequence, in order.

    ``motion`` is the frame's median motion in pixels of the network input, ``box_retention`` None
    where the frame has no reference to find.
    """

    sequence: str
    method: str
    motion: list[float]
    box_retention: list[float | None]
    compute_ratio: list[float]
    reuse_ratio: list[float]
    tx_bytes: list[int]
    ms: list[float]


@dataclass(frozen=True)
class Outcome:
    """One method on one sequence."""

    row: Row
    series: Series


@dataclass
class _Reference:
    """The dense run of a sequence: what it found, its J and the motion of each frame."""

    found: list[Detections] = field(default_factory=list)
    similarity: list[float | None] = field(default_factory=list)
    motion: list[float] = field(default_factory=list)
    raw_bytes: int = 0


def evaluate(
    sequences: Sequence[EvaluatedSequence],
    methods: Mapping[str, Method],
    context: MethodContext,
    *,
    max_frames: int | None = None,
    frame_done: FrameDone = lambda sequence, running: None,
) -> Iterator[Outcome]:
    """Yield one outcome for every sequence and method, sequence by sequence.

    The first frame of a sequence is shown to the methods but not scored, its cost neither:
    everything starts from nothing there, and caches only earn from the second frame on.

    :raises InputError: for a sequence with fewer than two frames, or one that cannot be read.
    """
    for sequence in sequences:
        reference = _dense_run(sequence, context, max_frames, frame_done)
        if len(reference.found) < 2:
            raise InputError(
                f"{sequence.path} has {len(reference.found)} frames; scoring needs two or more"
            )
        for name, method in methods.items():
            tally = _Tally(sequence.name, name)
            method.reset()
            for frame in islice(sequence.source, len(reference.found)):
                start = perf_counter()
                result = method.process(frame)
                spent_ms = (perf_counter() - start) * 1e3
                if frame.number > 0:
                    similarity = _similarity(result.detections, sequence, frame.number)
                    score = score_frame(result.detections, reference.found[frame.number])
                    tally.add(result, score, similarity, spent_ms)
                frame_done(sequence.name, name)
            yield tally.outcome(reference)


def _dense_run(
    sequence: EvaluatedSequence,
    context: MethodContext,
    max_frames: int | None,
    frame_done: FrameDone,
) -> _Reference:
    reference = _Reference()
    source = EncoderMotion()
    for frame in islice(sequence.source, max_frames):
        image, letterbox = context.detector.preprocess(frame.image)
        found = context.detect(image, letterbox)
        reference.found.append(found)
        reference.similarity.append(_similarity(found, sequence, frame.number))
        reference.motion.append(source.next(image).field.median_length())
        reference.raw_bytes = image.nbytes
        frame_done(sequence.name, REFERENCE)
    return reference


def _similarity(found: Detections, sequence: EvaluatedSequence, number: int) -> float | None:
    """The mean J over the frame's annotated objects, None without any."""
    if number not in sequence.annotations or found.masks is None:
        return None
    objects = read_objects(sequence.annotations[number])
    return mean([region_similarity(found, mask) for mask in objects])


class _Tally:
    """Collects one method's frames of one sequence."""

    def __init__(self, sequence: str, method: str) -> None:
        self._names = sequence, method
        self._results: list[MethodResult] = []
        self._scores: list[FrameScore] = []
        self._similarity: list[float | None] = []
        self._ms: list[float] = []

    def add(
        self, result: MethodResult, score: FrameScore, similarity: float | None, spent_ms: float
    ) -> None:
        self._results.append(result)
        self._scores.append(score)
        self._similarity.append(similarity)
        self._ms.append(spent_ms)

    def outcome(self, reference: _Reference) -> Outcome:
        results, scores = self._results, self._scores
        tx_bytes = [result.tx_bytes for result in results]
        p50, p95, p99 = np.percentile(self._ms, [50, 95, 99]).tolist()
        row = Row(
            *self._names,
            frames=len(results),
            box_retention=mean([iou for score in scores for iou in score.box_ious]),
            mask_retention=mean([iou for score in scores for iou in score.mask_ious]),
            false_alarms_per_100=100.0 * float(np.mean([score.false_alarms for score in scores])),
            j=mean(self._similarity),
            j_dense=mean(reference.similarity[1:]),
            compute_ratio=float(np.mean([result.compute_ratio for result in results])),
            reuse_ratio=float(np.mean([result.reuse_ratio for result in results])),
            tx_bytes_per_frame=float(np.mean(tx_bytes)),
            tx_ratio=float(np.mean(tx_bytes)) / reference.raw_bytes,
            ms_p50=p50,
            ms_p95=p95,
            ms_p99=p99,
            motion=float(np.mean(reference.motion[1:])),
        )
        series = Series(
            *self._names,
            motion=reference.motion[1:],
            box_retention=[mean(score.box_ious) for score in scores],
            compute_ratio=[result.compute_ratio for result in results],
            reuse_ratio=[result.reuse_ratio for result in results],
            tx_bytes=tx_bytes,
            ms=self._ms,
        )
        return Outcome(row, series)
