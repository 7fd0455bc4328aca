"""``ShardFrame`` as metadata and arrays, and back."""

from __future__ import annotations

from dataclasses import astuple

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import block_maps, motion_packing
from fluxshard_core.offload.header import Header
from fluxshard_core.offload.messages import BlockShards, ShardFrame
from fluxshard_core.offload.metadata import ShardFrameMetadata
from fluxshard_core.offload.sections import Array, Section, require_names


def frame_arrays(frame: ShardFrame) -> dict[str, Array]:
    """Return the frame's arrays by section name, the largest last."""
    arrays: dict[str, Array] = {"blocks": block_maps.pack(frame)}
    if frame.motion is not None:
        arrays["motion"] = motion_packing.pack(frame.motion)
    arrays["payload"] = frame.shards.payload
    return arrays


def frame_metadata(frame: ShardFrame, sections: tuple[Section, ...]) -> ShardFrameMetadata:
    """Return everything of the frame that is neither in the header nor an array."""
    return ShardFrameMetadata(
        epoch=frame.epoch,
        stamp_ns=frame.stamp_ns,
        model_hash=frame.model_hash,
        letterbox=astuple(frame.letterbox),
        confidence=float(frame.confidence),
        iou=float(frame.iou),
        codec=frame.shards.codec,
        block_size=frame.shards.block_size,
        strides=tuple(sorted(frame.critical)),
        sections=sections,
        motion_block_size=0 if frame.motion is None else frame.motion.block_size,
        background=frame.background,
    )


def build_frame(
    header: Header, session: str, metadata: ShardFrameMetadata, arrays: dict[str, Array]
) -> ShardFrame:
    """Put a frame together from its three parts; the message checks itself.

    :raises WireError: if a section is missing or unknown.
    :raises InputError: if a packed part or the message is not valid.
    """
    require_names(arrays, needed={"blocks", "payload"}, optional={"motion"})
    box, block_size = Letterbox(*metadata.letterbox), metadata.block_size
    ids, critical = block_maps.unpack(arrays["blocks"], box, block_size, metadata.strides)
    motion = arrays.get("motion")
    return ShardFrame(
        session=session,
        epoch=metadata.epoch,
        number=header.number,
        stamp_ns=metadata.stamp_ns,
        model_hash=metadata.model_hash,
        letterbox=box,
        confidence=metadata.confidence,
        iou=metadata.iou,
        shards=BlockShards(ids, metadata.codec, arrays["payload"], block_size),
        motion=None
        if motion is None
        else motion_packing.unpack(motion, box, metadata.motion_block_size),
        critical=critical,
        background=metadata.background,
    )
