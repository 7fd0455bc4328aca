"""Detections and frame statistics as ROS messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    LabelInfo,
    ObjectHypothesis,
    ObjectHypothesisWithPose,
    Point2D,
    Pose2D,
    VisionClass,
)

from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.offload.dispatcher import Decision
from fluxshard_core.session import FrameResult
from fluxshard_msgs.msg import FrameStats, InstanceMasks
from fluxshard_msgs.msg import InstanceMask as InstanceMaskMsg
from fluxshard_ros.arrays import uint8_array


def detection_array(detections: Detections, header: Header) -> Detection2DArray:
    """Boxes as ``vision_msgs``; ``class_id`` is the index that ``LabelInfo`` names."""
    found = [
        _detection(box, float(score), int(class_id), header)
        for box, score, class_id in zip(
            detections.boxes.tolist(), detections.scores, detections.class_ids, strict=True
        )
    ]
    return Detection2DArray(header=header, detections=found)


def _detection(box: Sequence[float], score: float, class_id: int, header: Header) -> Detection2D:
    x1, y1, x2, y2 = box
    centre = Pose2D(position=Point2D(x=(x1 + x2) / 2, y=(y1 + y2) / 2))
    hypothesis = ObjectHypothesis(class_id=str(class_id), score=score)
    return Detection2D(
        header=header,
        results=[ObjectHypothesisWithPose(hypothesis=hypothesis)],
        bbox=BoundingBox2D(center=centre, size_x=x2 - x1, size_y=y2 - y1),
    )


def mask_message(
    mask: InstanceMask, box: Sequence[float], score: float, class_id: int
) -> InstanceMaskMsg:
    """One instance: its class, score, box and bit-packed mask."""
    return InstanceMaskMsg(
        class_id=class_id,
        score=score,
        box=np.asarray(box, dtype=np.float32),
        x=mask.x,
        y=mask.y,
        width=mask.width,
        height=mask.height,
        bits=uint8_array(mask.bits),
    )


def mask_of_message(message: InstanceMaskMsg) -> InstanceMask:
    """The mask of a received instance."""
    bits = np.frombuffer(message.bits, dtype=np.uint8)
    return InstanceMask(message.x, message.y, message.width, message.height, bits)


def mask_messages(detections: Detections) -> list[InstanceMaskMsg]:
    """The masks of all instances; empty for models that make none."""
    if detections.masks is None:
        return []
    return [
        mask_message(mask, box, float(score), int(class_id))
        for mask, box, score, class_id in zip(
            detections.masks,
            detections.boxes.tolist(),
            detections.scores,
            detections.class_ids,
            strict=True,
        )
    ]


def instance_masks(
    detections: Detections, header: Header, image_height: int, image_width: int
) -> InstanceMasks:
    """Every instance's mask in the coordinates of an ``image_height`` x ``image_width`` image."""
    return InstanceMasks(
        header=header,
        image_height=image_height,
        image_width=image_width,
        instances=mask_messages(detections),
    )


def label_info(names: Sequence[str], header: Header, threshold: float) -> LabelInfo:
    """The names behind the class indices of the detections."""
    classes = [VisionClass(class_id=index, class_name=name) for index, name in enumerate(names)]
    return LabelInfo(header=header, class_map=classes, threshold=threshold)


def frame_stats(
    result: FrameResult, header: Header, *, total_ms: float, frames_dropped: int
) -> FrameStats:
    """How one frame was made: path, ratios, bytes, milliseconds by stage, drops so far."""
    decision = result.decision or Decision(result.path, None, None, "configured")
    return FrameStats(
        header=header,
        frame_number=result.number,
        path=result.path,
        decision_reason=decision.reason,
        expected_edge_ms=_or_nan(decision.edge_ms),
        expected_cloud_ms=_or_nan(decision.cloud_ms),
        realised_ms=result.realised_ms,
        resynchronisations=result.resyncs,
        fallback_reason=result.fallback_reason,
        reuse_ratio=result.reuse_ratio,
        compute_ratio=result.compute_ratio,
        transmission_ratio=result.transmission_ratio,
        tx_bytes=result.tx_bytes,
        rx_bytes=result.rx_bytes,
        background_edge_blocks=result.background.edge_blocks,
        background_cloud_blocks=result.background.cloud_blocks,
        background_tx_bytes=result.background.tx_bytes,
        frames_dropped=frames_dropped,
        total_ms=total_ms,
        stage_names=list(result.stage_ms),
        stage_ms=list(result.stage_ms.values()),
    )


def _or_nan(milliseconds: float | None) -> float:
    return float("nan") if milliseconds is None else milliseconds
