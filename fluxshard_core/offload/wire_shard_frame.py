"""``ShardFrame`` as metadata and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload.header import Header
from fluxshard_core.offload.messages import BlockShards, ShardFrame
from fluxshard_core.offload.metadata import ShardFrameMetadata
from fluxshard_core.offload.sections import Array, Section, require_names
from fluxshard_core.offload.wire_errors import SectionError

_MOTION = {"motion_vectors", "motion_valid", "motion_cost"}


def frame_arrays(frame: ShardFrame) -> dict[str, Array]:
    """Return the frame's arrays by section name, the largest last."""
    arrays: dict[str, Array] = {"ids": frame.shards.ids}
    if frame.motion is not None:
        arrays["motion_vectors"] = frame.motion.vectors
        arrays["motion_valid"] = np.packbits(frame.motion.valid)
        if frame.motion.cost is not None:
            arrays["motion_cost"] = frame.motion.cost
    arrays["payload"] = frame.shards.payload
    return arrays


def frame_metadata(frame: ShardFrame, sections: tuple[Section, ...]) -> ShardFrameMetadata:
    """Return everything of the frame that is neither in the header nor an array."""
    return ShardFrameMetadata(
        epoch=frame.epoch,
        stamp_ns=frame.stamp_ns,
        model_hash=frame.model_hash,
        letterbox=frame.letterbox,
        confidence=float(frame.confidence),
        iou=float(frame.iou),
        codec=frame.shards.codec,
        block_size=frame.shards.block_size,
        sections=sections,
        motion_block_size=0 if frame.motion is None else frame.motion.block_size,
    )


def build_frame(
    header: Header, session: str, metadata: ShardFrameMetadata, arrays: dict[str, Array]
) -> ShardFrame:
    """Put a frame together from its three parts; the message checks itself."""
    require_names(arrays, needed={"ids", "payload"}, optional=_MOTION)
    return ShardFrame(
        session=session,
        epoch=metadata.epoch,
        number=header.number,
        stamp_ns=metadata.stamp_ns,
        model_hash=metadata.model_hash,
        letterbox=metadata.letterbox,
        confidence=metadata.confidence,
        iou=metadata.iou,
        shards=BlockShards(arrays["ids"], metadata.codec, arrays["payload"], metadata.block_size),
        motion=_build_motion(metadata, arrays),
    )


def _build_motion(metadata: ShardFrameMetadata, arrays: Mapping[str, Array]) -> MotionField | None:
    if not _MOTION & set(arrays):
        return None
    vectors = arrays.get("motion_vectors")
    packed = arrays.get("motion_valid")
    if vectors is None or packed is None or vectors.ndim != 3:
        raise SectionError(
            "motion", expected="vectors (rows, cols, 2) and validity", actual=sorted(arrays)
        )
    grid = vectors.shape[:2]
    count = grid[0] * grid[1]
    if packed.dtype != np.uint8 or packed.shape != ((count + 7) // 8,):
        raise SectionError("motion validity bits", expected=count, actual=packed.shape)
    valid = np.unpackbits(packed, count=count).astype(np.bool_).reshape(grid)
    return MotionField(vectors, valid, arrays.get("motion_cost"), metadata.motion_block_size)
