"""CloudSession: what the cloud keeps for one robot, and how it answers its frames."""

from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.models.network import network_input
from fluxshard_core.motion.field import BLOCK_SIZE, MotionField
from fluxshard_core.offload.messages import InferenceResult, ShardFrame
from fluxshard_core.offload.proxy import ProxyDecoder
from fluxshard_core.reuse.criterion import PixelReference
from fluxshard_core.session.engine import Engine
from fluxshard_core.sparse.executor import Executor, FrameRun
from fluxshard_core.timing import StageTimer

UInt8 = npt.NDArray[np.uint8]


class CloudSession:
    """One robot: its frames in order, from a dense one on."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._decoder = ProxyDecoder()
        self._reference: PixelReference | None = None
        self._executor: Executor | None = None
        self._last = (-1, -1)

    def process(self, frame: ShardFrame) -> InferenceResult:
        """Bring pixels and features up to date with the frame and decode them.

        Raises :class:`InputError` when the frame is for another model, or builds on frames this
        session never got; the robot then sends a dense frame of a new epoch.
        """
        self._check(frame)
        # Until the frame is done nothing may build on it.
        reference, self._reference = self._reference, None
        timer = StageTimer()
        with timer.stage("decode_shards"):
            reference = self._update(frame, reference)
        with timer.stage("infer"):
            run = self._run(frame, reference.image)
        with timer.stage("decode"):
            found = self._engine.detector.decode(
                run.outputs, frame.letterbox, confidence=frame.confidence, iou=frame.iou
            )
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

    def _check(self, frame: ShardFrame) -> None:
        detector = self._engine.detector
        if frame.model_hash != detector.model_hash:
            raise InputError(
                f"this cloud runs {detector.name} ({detector.model_hash}), the robot "
                f"asked for model {frame.model_hash}: start both with the same model and weights"
            )
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
        reference.take(seen, frame.critical[min(frame.critical)])
        return reference

    def _run(self, frame: ShardFrame, image: UInt8) -> FrameRun:
        size = image.shape[:2]
        if self._executor is None or self._executor.size != size:
            self._executor = self._engine.executor(*size)
        if not frame.critical:
            self._executor.reset()
            everything = np.ones((size[0] // BLOCK_SIZE, size[1] // BLOCK_SIZE), dtype=np.bool_)
            return self._executor.run(network_input(image), None, everything)
        return self._executor.run(network_input(image), self._motion(frame), frame.critical)

    @staticmethod
    def _motion(frame: ShardFrame) -> MotionField:
        box = frame.letterbox
        return frame.motion or MotionField.zero(box.input_height, box.input_width)


def checksum(image: UInt8) -> int:
    """Return the CRC-32 of an image's bytes, by which both ends compare what the cloud holds."""
    return zlib.crc32(np.ascontiguousarray(image).data)
