"""CloudSession: what the cloud keeps for one robot, and how it answers its frames."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.network import network_bytes
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.proxy import ProxyDecoder, blocks_of
from fluxshard_core.reuse.criterion import PixelReference
from fluxshard_core.session.engine import Engine
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.executor import Executor
from fluxshard_core.sparse.frame_run import FrameRun
from fluxshard_core.sparse.together import Job, run_together
from fluxshard_core.timing import StageTimer

UInt8 = npt.NDArray[np.uint8]


# A session's pixels with the place each came from, and the six pictures an H.264 decoder keeps.
_BYTES_PER_PIXEL = 25


@dataclass(frozen=True, eq=False)
class Turn:
    """A frame whose pixels are decoded: ``job`` is left to do, ``timer`` goes on counting."""

    frame: ShardFrame
    reference: PixelReference
    job: Job
    timer: StageTimer


class CloudSession:
    """One robot: its frames in order, from a dense one on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = ProxyDecoder()
        self._reference: PixelReference | None = None
        self._executor: Executor | None = None
        self._bytes = 0
        self._last = (-1, -1)

    @property
    def bytes(self) -> int:
        """Memory held for this robot: features, pixels and the codec's pictures."""
        return self._bytes

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the inputs it holds features of."""
        return self._executor.size if self._executor else None

    def process(self, frame: ShardFrame) -> InferenceResult:
        """Answer one frame: :meth:`prepare` it, run it, :meth:`answer` it."""
        turn = self.prepare(frame)
        with turn.timer.stage("infer"):
            (run,) = run_together([turn.job])
        return self.answer(turn, run)

    def prepare(self, frame: ShardFrame) -> Turn:
        """Bring the pixels up to date with the frame, and return what the network has to do.

        Raises :class:`InputError` when the frame is for another model, or builds on frames this
        session never got; the robot then sends a dense frame of a new epoch.
        """
        self._check(frame)
        # Until the frame is done nothing may build on it.
        reference, self._reference = self._reference, None
        timer = StageTimer()
        with timer.stage("decode_shards"):
            reference = self._update(frame, reference)
            job = self._job(frame, reference.image)
        return Turn(frame, reference, job, timer)

    def answer(self, turn: Turn, run: FrameRun) -> InferenceResult:
        """Decode what the network made of a prepared frame; later frames may build on it."""
        frame, reference, timer = turn.frame, turn.reference, turn.timer
        with timer.stage("decode"):
            found = Detections() if frame.background else self._found(frame, run)
        self._reference, self._last = reference, (frame.epoch, frame.number)
        return InferenceResult(
            frame.session,
            frame.epoch,
            frame.number,
            frame.stamp_ns,
            found,
            timer.stage_ms,
            checksum=checksum(reference.image),
            compute_ratio=run.compute_ratio,
            dense=bool(run.dense_reason),
        )

    def _found(self, frame: ShardFrame, run: FrameRun) -> Detections:
        return self._engine.detector.decode(
            run.outputs,
            frame.letterbox,
            confidence=frame.confidence,
            iou=frame.iou,
            offsets=run.offsets,
        )

    def _check(self, frame: ShardFrame) -> None:
        check_model(self._engine, frame)
        if not frame.critical:
            return
        epoch, number = self._last
        size = frame.letterbox.input_height, frame.letterbox.input_width
        known = self._reference is not None and self._reference.image.shape[:2] == size
        if not known or frame.epoch != epoch:
            raise InputError(
                f"epoch {frame.epoch} of session {frame.session} is not known here: its first "
                "frame must bring every block"
            )
        if frame.number <= number:
            raise InputError(f"frame {frame.number} came after frame {number}, which it is not")

    def _update(self, frame: ShardFrame, reference: PixelReference | None) -> PixelReference:
        """Return the robot's proxy after the frame."""
        if not frame.critical:
            self._decoder.reset()
            size = frame.letterbox.input_height, frame.letterbox.input_width
            blank: UInt8 = np.zeros((*size, 3), dtype=np.uint8)
            return PixelReference(self._decoder.decode(frame.shards, blank))
        assert reference is not None
        reference, _ = reference.moved(self._motion(frame))
        seen = self._decoder.decode(frame.shards, reference.image)
        reference.take(seen, blocks_of(frame.shards, seen))
        return reference

    def _job(self, frame: ShardFrame, image: UInt8) -> Job:
        height, width = image.shape[:2]
        if self._executor is None or self._executor.size != (height, width):
            self._executor = None  # its memory first
            self._executor = self._engine.executor(height, width)
            self._bytes = _bytes_of(self._executor.network.binding)
        if frame.critical:
            schedule = self._executor.schedule(self._motion(frame), frame.critical)
        else:
            schedule = self._executor.scheduler.dense("the robot sent a whole frame")
        return Job(self._executor, network_bytes(image), schedule)

    @staticmethod
    def _motion(frame: ShardFrame) -> MotionField:
        box = frame.letterbox
        return frame.motion or MotionField.zero(box.input_height, box.input_width)


def session_bytes(engine: Engine, size: tuple[int, int]) -> int:
    """Return the memory a session takes for inputs of ``size`` ``(height, width)``."""
    return _bytes_of(engine.binding(*size))


def check_model(engine: Engine, frame: ShardFrame) -> None:
    """Raise :class:`InputError` when a frame is for another model."""
    detector = engine.detector
    if frame.model_hash != detector.model_hash:
        raise InputError(
            f"this cloud runs {detector.name} ({detector.model_hash}), the robot "
            f"asked for model {frame.model_hash}: start both with the same model and weights"
        )


def _bytes_of(binding: Binding) -> int:
    spec = binding.plan.tensors[binding.plan.inputs[0]]
    return binding.cache_bytes() + spec.cells * _BYTES_PER_PIXEL


def checksum(image: UInt8) -> int:
    """Return the CRC-32 of an image's bytes, by which both ends compare what the cloud holds."""
    return zlib.crc32(np.ascontiguousarray(image).data)
