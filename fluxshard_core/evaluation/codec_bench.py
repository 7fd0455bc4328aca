"""How many bytes each shard codec needs for real frames, at what quality and in what time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from statistics import mean, median
from time import perf_counter

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.evaluation.sequences import EvaluatedSequence
from fluxshard_core.models.network import network_bytes
from fluxshard_core.motion.field import BLOCK_SIZE, MotionField
from fluxshard_core.offload.proxy import ProxyDecoder, ProxyEncoder
from fluxshard_core.reuse.criterion import PixelReference
from fluxshard_core.session.config import SessionConfig
from fluxshard_core.session.engine import Engine
from fluxshard_core.session.robot_state import RobotState

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

_PEAK = 255.0
_WHOLE = "whole"


@dataclass(frozen=True, eq=False)
class Sample:
    """One frame as the policy saw it: the network's ``image`` ``(H, W, 3)`` uint8, the ``motion``
    since the one before, the ``critical`` blocks ``(rows, cols)`` bool, and the ``ease`` in [-1, 1]
    with which each may be coded, float32; None with none."""

    image: UInt8
    motion: MotionField
    critical: Bool
    ease: Float32 | None = None


@dataclass(frozen=True)
class CodecSpec:
    """``[whole:]CODEC[:QUALITY]``; ``whole`` sends every block of every frame."""

    name: str
    codec: str
    quality: float | None
    whole: bool

    @classmethod
    def parse(cls, text: str) -> CodecSpec:
        """Read a specification.

        :raises InputError: if it is none, or its codec or quality does not exist.
        """
        parts = text.split(":")
        whole = parts[0] == _WHOLE
        codec, *rest = parts[1:] if whole else parts or [""]
        try:
            quality = float(rest[0]) if rest else None
        except ValueError:
            raise InputError(f"{text!r}: {rest[0]!r} is not a quality") from None
        if len(rest) > 1:
            raise InputError(f"{text!r} is not [whole:]CODEC[:QUALITY]")
        ProxyEncoder(codec, quality)
        return cls(text, codec, quality, whole)


@dataclass(frozen=True)
class CodecRow:
    """One codec over all frames of one sequence but its first.

    ``bytes_per_frame`` of payload; ``critical_psnr`` and ``frame_psnr`` in dB over RGB, against
    the camera's image (infinite where nothing is lost); ``encode_ms`` and ``decode_ms`` medians.
    ``sent``: share of the blocks. ``agree``: both ends held the same image after every frame.
    """

    sequence: str
    codec: str
    frames: int
    bytes_per_frame: float
    sent: float
    critical_psnr: float
    frame_psnr: float
    encode_ms: float
    decode_ms: float
    agree: bool


def policy_samples(
    sequence: EvaluatedSequence, engine: Engine, max_frames: int | None = None
) -> list[Sample]:
    """Run the reuse policy over a sequence, lossless and on one side; return what it asked for."""
    config = SessionConfig()
    state: RobotState | None = None
    samples = []
    for frame in islice(sequence.source, max_frames):
        image, letterbox = engine.detector.preprocess(frame.image)
        if state is None or state.size != image.shape[:2]:
            state = RobotState(engine, (image.shape[0], image.shape[1]), config)
        state.follow(image)
        proposal = state.propose("edge", image, config.reuse)
        ease = state.coding_ease(proposal)
        samples.append(Sample(image, proposal.motion, proposal.pixels, ease))
        seen = proposal.composed(image)
        run = state.executor.execute(network_bytes(seen), proposal.schedule)
        state.endpoint("edge").settle(proposal, seen)
        found = engine.detector.decode(
            run.outputs, letterbox, confidence=config.decode_confidence, iou=config.iou
        )
        state.learn(found, letterbox)
    if len(samples) < 2:
        raise InputError(f"{sequence.path} has {len(samples)} frames; two or more are needed")
    return samples


def measure_codec(sequence: str, samples: Sequence[Sample], spec: CodecSpec) -> CodecRow:
    """Send ``samples`` with one codec and return what it took."""
    frames = list(_exchange(samples, spec))[1:]
    return CodecRow(
        sequence,
        spec.name,
        len(frames),
        mean(one.size for one in frames),
        mean(one.sent for one in frames),
        _psnr(one.critical_error for one in frames),
        _psnr(one.frame_error for one in frames),
        median(one.encode_ms for one in frames),
        median(one.decode_ms for one in frames),
        all(one.agree for one in frames),
    )


def aggregate_rows(rows: Sequence[CodecRow], name: str = "all") -> list[CodecRow]:
    """Return one row for each codec: the mean over its sequences, every sequence alike."""
    merged = []
    for codec in dict.fromkeys(row.codec for row in rows):
        own = [row for row in rows if row.codec == codec]
        merged.append(
            CodecRow(
                name,
                codec,
                sum(row.frames for row in own),
                mean(row.bytes_per_frame for row in own),
                mean(row.sent for row in own),
                mean(row.critical_psnr for row in own),
                mean(row.frame_psnr for row in own),
                mean(row.encode_ms for row in own),
                mean(row.decode_ms for row in own),
                all(row.agree for row in own),
            )
        )
    return merged


@dataclass(frozen=True)
class _Exchanged:
    size: int
    sent: float
    critical_error: float
    frame_error: float
    encode_ms: float
    decode_ms: float
    agree: bool


def _exchange(samples: Sequence[Sample], spec: CodecSpec) -> Iterator[_Exchanged]:
    encoder, decoder = ProxyEncoder(spec.codec, spec.quality), ProxyDecoder()
    reference: PixelReference | None = None
    for sample in samples:
        critical = np.ones_like(sample.critical) if spec.whole else sample.critical
        if reference is None:
            reference = PixelReference(np.zeros_like(sample.image))
        else:
            reference, _ = reference.moved(sample.motion)
        start = perf_counter()
        shards, proxy = encoder.encode(sample.image, reference.image, critical, sample.ease)
        encoded = perf_counter()
        received = decoder.decode(shards, reference.image)
        decoded = perf_counter()
        reference.take(proxy, critical)
        error = ((sample.image.astype(np.float32) - proxy) ** 2).mean(axis=-1)
        blocks = _per_block(error)
        yield _Exchanged(
            len(shards.payload),
            float(critical.mean()),
            float(blocks[sample.critical].mean()) if sample.critical.any() else 0.0,
            float(blocks.mean()),
            (encoded - start) * 1e3,
            (decoded - encoded) * 1e3,
            bool(np.array_equal(received, proxy)),
        )


def _per_block(error: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    rows, cols = (side // BLOCK_SIZE for side in error.shape)
    means: npt.NDArray[np.float32] = error.reshape(rows, BLOCK_SIZE, cols, BLOCK_SIZE).mean((1, 3))
    return means


def _psnr(errors: Iterable[float]) -> float:
    worst = mean(errors)
    return 10.0 * math.log10(_PEAK**2 / worst) if worst > 0 else math.inf
