"""Offload messages as ROS messages and back, bit for bit; what arrives is validated."""

from __future__ import annotations

import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload import block_maps, motion_packing
from fluxshard_core.offload.messages import BlockShards, InferenceResult, ShardFrame
from fluxshard_msgs.msg import BlockShards as BlockShardsMsg
from fluxshard_msgs.msg import InferenceResult as InferenceResultMsg
from fluxshard_msgs.msg import ShardFrame as ShardFrameMsg
from fluxshard_ros.arrays import numpy_of, uint8_array
from fluxshard_ros.stamps import header_of, nanoseconds

_LETTERBOX_FIELDS = (
    "original_height",
    "original_width",
    "input_height",
    "input_width",
    "scale",
    "pad_x",
    "pad_y",
)


def shard_frame_message(frame: ShardFrame) -> ShardFrameMsg:
    """A request to the cloud as a ROS message."""
    shards = BlockShardsMsg(
        block_size=frame.shards.block_size,
        strides=sorted(frame.critical),
        blocks=uint8_array(block_maps.pack(frame)),
        codec=frame.shards.codec,
        payload=uint8_array(frame.shards.payload),
    )
    motion = np.zeros(0, np.uint8) if frame.motion is None else motion_packing.pack(frame.motion)
    return ShardFrameMsg(
        header=header_of(frame.stamp_ns, ""),
        session=frame.session,
        epoch=frame.epoch,
        frame_number=frame.number,
        model_hash=frame.model_hash,
        **{name: getattr(frame.letterbox, name) for name in _LETTERBOX_FIELDS},
        confidence=frame.confidence,
        iou=frame.iou,
        motion_block_size=0 if frame.motion is None else frame.motion.block_size,
        motion=uint8_array(motion),
        shards=shards,
        background=frame.background,
    )


def shard_frame_of(message: ShardFrameMsg) -> ShardFrame:
    """The request a message carries; ``InputError`` when its fields do not fit together."""
    letterbox = Letterbox(**{name: getattr(message, name) for name in _LETTERBOX_FIELDS})
    block_size = message.shards.block_size
    maps = numpy_of(message.shards.blocks, np.uint8)
    ids, critical = block_maps.unpack(maps, letterbox, block_size, list(message.shards.strides))
    payload = numpy_of(message.shards.payload, np.uint8)
    return ShardFrame(
        session=message.session,
        epoch=message.epoch,
        number=message.frame_number,
        stamp_ns=nanoseconds(message.header.stamp),
        model_hash=message.model_hash,
        letterbox=letterbox,
        confidence=message.confidence,
        iou=message.iou,
        shards=BlockShards(ids, message.shards.codec, payload, block_size),
        motion=_motion_of(message, letterbox) if message.motion_block_size else None,
        critical=critical,
        background=message.background,
    )


def _motion_of(message: ShardFrameMsg, letterbox: Letterbox) -> MotionField:
    packed = numpy_of(message.motion, np.uint8)
    return motion_packing.unpack(packed, letterbox, message.motion_block_size)


def inference_result_message(result: InferenceResult) -> InferenceResultMsg:
    """The cloud's answer as a ROS message."""
    found = result.detections
    masks = found.masks or ()
    keypoints = found.keypoints
    corners = [(mask.x, mask.y, mask.width, mask.height) for mask in masks]
    bits = [mask.bits for mask in masks]
    return InferenceResultMsg(
        header=header_of(result.stamp_ns, ""),
        session=result.session,
        epoch=result.epoch,
        frame_number=result.number,
        error=result.error,
        boxes=found.boxes.reshape(-1),
        scores=found.scores,
        class_ids=found.class_ids,
        has_masks=found.masks is not None,
        mask_boxes=np.array(corners, dtype=np.uint32).reshape(-1),
        mask_bits=uint8_array(np.concatenate(bits) if bits else np.zeros(0, dtype=np.uint8)),
        keypoint_count=0 if keypoints is None else keypoints.shape[1],
        keypoints=np.zeros(0, dtype=np.float32) if keypoints is None else keypoints.reshape(-1),
        stage_names=list(result.stage_ms),
        stage_ms=list(result.stage_ms.values()),
        checksum=result.checksum,
        dense=result.dense,
        compute_ratio=result.compute_ratio,
    )


def inference_result_of(message: InferenceResultMsg) -> InferenceResult:
    """The answer a message carries; ``InputError`` when its fields do not fit together."""
    scores = numpy_of(message.scores, np.float32)
    boxes = numpy_of(message.boxes, np.float32)
    keypoints = numpy_of(message.keypoints, np.float32)
    if boxes.size != 4 * scores.size or keypoints.size != scores.size * message.keypoint_count * 3:
        raise InputError(
            f"answer with {scores.size} scores, {boxes.size} box sides, {keypoints.size} keypoint "
            "values"
        )
    detections = Detections(
        boxes=boxes.reshape(-1, 4),
        scores=scores,
        class_ids=numpy_of(message.class_ids, np.int32),
        masks=_masks_of(message, scores.size) if message.has_masks else None,
        keypoints=keypoints.reshape(scores.size, message.keypoint_count, 3)
        if message.keypoint_count
        else None,
    )
    return InferenceResult(
        session=message.session,
        epoch=message.epoch,
        number=message.frame_number,
        stamp_ns=nanoseconds(message.header.stamp),
        detections=detections,
        stage_ms=dict(zip(message.stage_names, map(float, message.stage_ms), strict=False)),
        error=message.error,
        checksum=message.checksum,
        dense=message.dense,
        compute_ratio=message.compute_ratio,
    )


def _masks_of(message: InferenceResultMsg, count: int) -> tuple[InstanceMask, ...]:
    corners = numpy_of(message.mask_boxes, np.uint32)
    bits = numpy_of(message.mask_bits, np.uint8)
    if corners.size != 4 * count:
        raise InputError(f"answer with {count} instances and {corners.size / 4:g} mask boxes")
    places = corners.reshape(-1, 4).tolist()
    ends = np.cumsum([-(-width * height // 8) for _, _, width, height in places], dtype=np.int64)
    if bits.size != (int(ends[-1]) if places else 0):
        raise InputError(f"answer with {bits.size} mask bytes that do not fill its mask boxes")
    parts = np.split(bits, ends[:-1]) if places else []
    return tuple(InstanceMask(*place, part) for place, part in zip(places, parts, strict=True))
