"""The checks every message passes when it is made, by the sender and by each decoder alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.models.letterbox import MAX_SIDE, Letterbox
from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.offload import limits

if TYPE_CHECKING:
    from fluxshard_core.models.detections import Detections, InstanceMask
    from fluxshard_core.offload.messages import BlockShards, InferenceResult, Refusal, ShardFrame

Bool = npt.NDArray[np.bool_]


def check_block_shards(shards: BlockShards) -> None:
    """Raise ``InputError`` unless ids, codec, payload and block size can belong together."""
    if shards.codec not in limits.CODECS:
        known = ", ".join(sorted(limits.CODECS))
        raise InputError(f"unknown shard codec {shards.codec!r}; this build knows: {known}")
    _check_integer("block_size", shards.block_size, 1, limits.MAX_BLOCK_SIZE)
    _check_array("shard ids", shards.ids, np.int32, (None,))
    _check_array("shard payload", shards.payload, np.uint8, (None,))
    if len(shards.payload) > limits.MAX_SHARD_BYTES:
        raise InputError(
            f"shard payload of {len(shards.payload)} bytes, at most {limits.MAX_SHARD_BYTES}"
        )
    if len(shards.ids) and shards.ids[0] < 0:
        raise InputError(f"shard ids must not be negative, the first is {shards.ids[0]}")
    if not bool(np.all(shards.ids[1:] > shards.ids[:-1])):
        raise InputError("shard ids must be ascending and unique")


def check_shard_frame(frame: ShardFrame) -> None:
    """Raise ``InputError`` unless the frame's parts are in range and agree on the block grid."""
    _check_identity(frame)
    _check_text("model_hash", frame.model_hash, limits.MAX_NAME_BYTES)
    _check_fraction("confidence", frame.confidence)
    _check_fraction("iou", frame.iou)
    rows, columns = shard_grid(frame.letterbox, frame.shards.block_size)
    ids = frame.shards.ids
    if len(ids) and ids[-1] >= rows * columns:
        raise InputError(f"shard id {ids[-1]} is outside the {rows}x{columns} grid of blocks")
    _check_critical(frame.critical, (rows, columns))
    if not isinstance(frame.background, bool) or (frame.background and not frame.critical):
        raise InputError("background must be true or false, and a dense frame is none")
    if frame.motion is not None:
        _check_motion(frame.motion, frame.letterbox)


def check_inference_result(result: InferenceResult) -> None:
    """Raise ``InputError`` unless the detections agree in length and every number is in range."""
    _check_identity(result)
    _check_text("error", result.error, limits.MAX_ERROR_BYTES, empty=True)
    if len(result.stage_ms) > limits.MAX_STAGES:
        raise InputError(f"{len(result.stage_ms)} stages, at most {limits.MAX_STAGES}")
    for name, milliseconds in result.stage_ms.items():
        _check_text("stage name", name, limits.MAX_NAME_BYTES)
        if not math.isfinite(milliseconds):
            raise InputError(f"stage {name!r} took {milliseconds} ms")
    _check_integer("checksum", result.checksum, 0, limits.MAX_UINT32)
    if not isinstance(result.dense, bool):
        raise InputError(f"dense must be true or false, not {result.dense!r}")
    if not 0.0 <= result.compute_ratio <= limits.MAX_COMPUTE_RATIO:
        raise InputError(
            f"compute_ratio must be within [0, {limits.MAX_COMPUTE_RATIO}], "
            f"got {result.compute_ratio}"
        )
    _check_detections(result.detections)


def check_refusal(refusal: Refusal) -> None:
    """Raise ``InputError`` unless the reason and the request's identity are in range."""
    _check_text("reason", refusal.reason, limits.MAX_ERROR_BYTES)
    _check_text("session", refusal.session, limits.MAX_NAME_BYTES, empty=True)
    _check_integer("number", refusal.number, 0, limits.MAX_INT64)


def _check_identity(message: ShardFrame | InferenceResult) -> None:
    _check_text("session", message.session, limits.MAX_NAME_BYTES)
    _check_integer("epoch", message.epoch, 0, limits.MAX_UINT32)
    _check_integer("number", message.number, 0, limits.MAX_INT64)
    _check_integer("stamp_ns", message.stamp_ns, 0, limits.MAX_INT64)


def _check_letterbox(letterbox: Letterbox) -> None:
    for name in ("original_height", "original_width", "input_height", "input_width"):
        _check_integer(name, getattr(letterbox, name), 1, MAX_SIDE)
    if not 0.0 < letterbox.scale <= MAX_SIDE:
        raise InputError(f"letterbox scale must be within (0, {MAX_SIDE}], not {letterbox.scale}")
    for name, pad, content, side in (
        ("pad_x", letterbox.pad_x, letterbox.content_width, letterbox.input_width),
        ("pad_y", letterbox.pad_y, letterbox.content_height, letterbox.input_height),
    ):
        if content > side:
            raise InputError(f"letterbox content of {content} px overflows the input's {side} px")
        _check_integer(name, pad, 0, side - content)


def shard_grid(letterbox: Letterbox, block_size: int) -> tuple[int, int]:
    """Return the ``(rows, cols)`` of the input's blocks after checking both arguments.

    :raises InputError: for a letterbox no image has, or blocks that do not fill the input.
    """
    _check_letterbox(letterbox)
    _check_integer("block_size", block_size, 1, limits.MAX_BLOCK_SIZE)
    height, width = letterbox.input_height, letterbox.input_width
    if height % block_size or width % block_size:
        raise InputError(f"input of {width}x{height} does not divide into {block_size} px blocks")
    return _few_blocks(height // block_size, width // block_size)


def motion_grid(letterbox: Letterbox, block_size: int) -> tuple[int, int]:
    """Return the ``(rows, cols)`` of a motion field of the input, both arguments checked.

    :raises InputError: for a letterbox no image has, or an absurd block size.
    """
    _check_letterbox(letterbox)
    _check_integer("motion block size", block_size, 1, limits.MAX_BLOCK_SIZE)
    return _few_blocks(*block_grid(letterbox.input_height, letterbox.input_width, block_size))


def _few_blocks(rows: int, columns: int) -> tuple[int, int]:
    if rows * columns > limits.MAX_BLOCKS:
        raise InputError(f"{rows}x{columns} blocks, at most {limits.MAX_BLOCKS}: use larger ones")
    return rows, columns


def check_strides(strides: Sequence[int]) -> None:
    """Raise ``InputError`` unless a network can have levels of these cumulative strides."""
    if len(strides) > limits.MAX_LEVELS:
        raise InputError(f"{len(strides)} levels, at most {limits.MAX_LEVELS}")
    for stride in strides:
        _check_integer("stride", stride, 1, limits.MAX_STRIDE)


def _check_critical(critical: Mapping[int, Bool], grid: tuple[int, int]) -> None:
    check_strides(tuple(critical))
    for stride, blocks in critical.items():
        _check_array(f"critical blocks of stride {stride}", blocks, np.bool_, grid)


def _check_motion(motion: MotionField, letterbox: Letterbox) -> None:
    rows, columns = motion_grid(letterbox, motion.block_size)
    if motion.valid.shape != (rows, columns):
        raise InputError(
            f"motion of {motion.rows}x{motion.cols} blocks for an input of {rows}x{columns}"
        )
    if motion.cost is not None or bool(motion.vectors[~motion.valid].any()):
        raise InputError("motion must come without costs and with zero vectors where invalid")


def _check_detections(detections: Detections) -> None:
    count = len(detections)
    if count > limits.MAX_INSTANCES:
        raise InputError(f"{count} instances, at most {limits.MAX_INSTANCES}")
    _check_array("boxes", detections.boxes, np.float32, (count, 4))
    _check_array("scores", detections.scores, np.float32, (count,))
    _check_array("class_ids", detections.class_ids, np.int32, (count,))
    if not bool(np.isfinite(detections.boxes).all()):
        raise InputError("boxes must be finite")
    if not bool(((detections.scores >= 0) & (detections.scores <= 1)).all()):
        raise InputError("scores must be within [0, 1]")
    if detections.keypoints is not None:
        _check_array("keypoints", detections.keypoints, np.float32, (count, None, 3))
        if detections.keypoints.shape[1] > limits.MAX_KEYPOINTS:
            raise InputError(f"more than {limits.MAX_KEYPOINTS} keypoints an instance")
        if not bool(np.isfinite(detections.keypoints).all()):
            raise InputError("keypoints must be finite")
    if detections.masks is not None:
        _check_masks(detections.masks, count)


def _check_masks(masks: tuple[InstanceMask, ...], count: int) -> None:
    if len(masks) != count:
        raise InputError(f"{len(masks)} masks for {count} instances")
    side = MAX_SIDE
    total = 0
    for mask in masks:
        _check_integer("mask x", mask.x, -side, side)
        _check_integer("mask y", mask.y, -side, side)
        _check_integer("mask width", mask.width, 0, side)
        _check_integer("mask height", mask.height, 0, side)
        _check_array("mask bits", mask.bits, np.uint8, ((mask.width * mask.height + 7) // 8,))
        total += len(mask.bits)
    if total > limits.MAX_MASK_BYTES:
        raise InputError(f"masks of {total} bytes, at most {limits.MAX_MASK_BYTES}")


def _check_array(
    name: str,
    array: npt.NDArray[Any],
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
) -> None:
    """``None`` in ``shape`` stands for any length."""
    fits = array.ndim == len(shape) and all(
        wanted is None or wanted == actual
        for wanted, actual in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype != dtype:
        wanted_shape = tuple("any" if side is None else side for side in shape)
        raise InputError(
            f"{name} must be {np.dtype(dtype)} of shape {wanted_shape}, "
            f"got {array.dtype} of shape {array.shape}"
        )


def _check_integer(name: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"{name} must be an integer in [{low}, {high}], got {value!r}")


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} must be within [0, 1], got {value}")


def _check_text(name: str, text: str, max_bytes: int, *, empty: bool = False) -> None:
    try:
        length = len(text.encode())
    except UnicodeEncodeError as error:
        raise InputError(f"{name} is not valid Unicode: {error}") from error
    if length > max_bytes or (length == 0 and not empty):
        raise InputError(f"{name} must have 1 to {max_bytes} bytes of UTF-8, has {length}")
