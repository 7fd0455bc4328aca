"""What edge and cloud say to each other, whatever carries it (TCP bridge or DDS).

A message that exists is valid: constructing one runs the checks in ``validation`` and raises
``InputError``, so neither the sender nor a decoder can produce a malformed one. Messages compare
by identity because their fields are arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from fluxshard_core.models.detections import Detections
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import limits, validation


@dataclass(frozen=True, eq=False)
class BlockShards:
    """A batch of square blocks of the network input, compressed by one codec.

    ``ids`` ``(N,)`` int32, ascending and unique, count the input's blocks row by row from the top
    left; ``payload`` ``(bytes,)`` uint8 is what the codec named ``codec`` wrote for them, in the
    order of ``ids``; ``block_size`` is the block's side in pixels.
    """

    ids: npt.NDArray[np.int32]
    codec: str
    payload: npt.NDArray[np.uint8]
    block_size: int = limits.BLOCK_SIZE

    def __post_init__(self) -> None:
        validation.check_block_shards(self)


@dataclass(frozen=True, eq=False)
class ShardFrame:
    """One frame the edge asks the cloud to infer.

    ``session`` names the robot, ``epoch`` counts its restarts and resynchronisations, ``number``
    the frames within an epoch; together they identify the answer. ``stamp_ns`` is the camera's
    stamp. ``model_hash`` must equal the cloud's, ``letterbox`` places the input in the original
    image, ``confidence`` and ``iou`` are the thresholds of the decode, both in [0, 1].

    ``critical`` holds the blocks to recompute at every level of the network, ``(rows, cols)`` bool
    by cumulative stride, in the blocks of ``shards``; an empty mapping is a dense frame: every
    block is sent and everything recomputed. ``motion`` is counted since the frame the cloud last
    answered; invalid blocks have zero vectors, and it has no costs: neither travels.

    ``background``: nobody waits for results. The cloud brings its features up to date, after the
    frames of robots that wait, and answers with the checksum alone; never a dense frame.
    """

    session: str
    epoch: int
    number: int
    stamp_ns: int
    model_hash: str
    letterbox: Letterbox
    confidence: float
    iou: float
    shards: BlockShards
    motion: MotionField | None = None
    critical: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict)
    background: bool = False

    def __post_init__(self) -> None:
        validation.check_shard_frame(self)


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """The cloud's answer to the ``ShardFrame`` of the same session, epoch and number.

    ``stage_ms`` holds the cloud's time per stage in milliseconds. ``checksum`` is the CRC-32 of
    the session's reference image after the frame, ``dense`` says whether everything was
    recomputed, ``compute_ratio`` what was in multiply-accumulates over those of the dense network.
    A non-empty ``error`` says why there is no answer; the detections are then empty.
    """

    session: str
    epoch: int
    number: int
    stamp_ns: int
    detections: Detections = field(default_factory=Detections)
    stage_ms: dict[str, float] = field(default_factory=dict)
    error: str = ""
    checksum: int = 0
    dense: bool = True
    compute_ratio: float = 1.0

    def __post_init__(self) -> None:
        validation.check_inference_result(self)

    @classmethod
    def failure(cls, frame: ShardFrame | InferenceResult, reason: str) -> InferenceResult:
        """Answer ``frame`` with the reason there are no detections, shortened if too long."""
        clipped = reason.encode(errors="replace")[: limits.MAX_ERROR_BYTES]
        error = clipped.decode(errors="ignore") or "unknown error"
        return cls(frame.session, frame.epoch, frame.number, frame.stamp_ns, error=error)


@dataclass(frozen=True)
class Refusal:
    """The other side will not serve a request, or this connection, and says why.

    ``session`` and ``number`` are those of the request; an empty session means the connection.
    """

    reason: str
    session: str = ""
    number: int = 0

    def __post_init__(self) -> None:
        validation.check_refusal(self)
