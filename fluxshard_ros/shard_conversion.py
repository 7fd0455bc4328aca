"""Offload messages as ROS messages and back, bit for bit; what arrives is validated."""

from __future__ import annotations

import numpy as np
from std_msgs.msg import Header

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.motion.field import MotionField
from fluxshard_core.offload.messages import BlockShards, InferenceResult, ShardFrame
from fluxshard_msgs.msg import BlockShards as BlockShardsMsg
from fluxshard_msgs.msg import InferenceResult as InferenceResultMsg
from fluxshard_msgs.msg import MotionField as MotionFieldMsg
from fluxshard_msgs.msg import ShardFrame as ShardFrameMsg
from fluxshard_ros.arrays import int16_array, numpy_of, uint8_array
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
    header = header_of(frame.stamp_ns, "")
    shards = BlockShardsMsg(
        block_size=frame.shards.block_size,
        block_ids=frame.shards.ids.astype(np.uint32),
        codec=frame.shards.codec,
        payload=uint8_array(frame.shards.payload),
    )
    return ShardFrameMsg(
        header=header,
        session=frame.session,
        epoch=frame.epoch,
        frame_number=frame.number,
        model_hash=frame.model_hash,
        **{name: getattr(frame.letterbox, name) for name in _LETTERBOX_FIELDS},
        confidence=frame.confidence,
        iou=frame.iou,
        has_motion=frame.motion is not None,
        motion=_motion_message(frame.motion, header),
        shards=shards,
    )


def shard_frame_of(message: ShardFrameMsg) -> ShardFrame:
    """The request a message carries; ``InputError`` when its fields do not fit together."""
    shards = BlockShards(
        ids=numpy_of(message.shards.block_ids, np.uint32).astype(np.int32),
        codec=message.shards.codec,
        payload=numpy_of(message.shards.payload, np.uint8),
        block_size=message.shards.block_size,
    )
    return ShardFrame(
        session=message.session,
        epoch=message.epoch,
        number=message.frame_number,
        stamp_ns=nanoseconds(message.header.stamp),
        model_hash=message.model_hash,
        letterbox=Letterbox(**{name: getattr(message, name) for name in _LETTERBOX_FIELDS}),
        confidence=message.confidence,
        iou=message.iou,
        shards=shards,
        motion=_motion_of(message.motion) if message.has_motion else None,
    )


def _motion_message(field: MotionField | None, header: Header) -> MotionFieldMsg:
    if field is None:
        return MotionFieldMsg(header=header)
    rows, cols = field.valid.shape
    return MotionFieldMsg(
        header=header,
        block_size=field.block_size,
        rows=rows,
        cols=cols,
        vectors=int16_array(field.vectors),
        valid=uint8_array(np.packbits(field.valid.reshape(-1))),
    )


def _motion_of(message: MotionFieldMsg) -> MotionField:
    rows, cols = message.rows, message.cols
    vectors = numpy_of(message.vectors, np.int16)
    packed = numpy_of(message.valid, np.uint8)
    if vectors.size != rows * cols * 2 or packed.size != -(-rows * cols // 8):
        raise InputError(
            f"motion field of {rows} x {cols} blocks with {vectors.size} components and "
            f"{packed.size} validity bytes"
        )
    valid = np.unpackbits(packed, count=rows * cols).astype(np.bool_)
    return MotionField(
        vectors.reshape(rows, cols, 2), valid.reshape(rows, cols), block_size=message.block_size
    )


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
