"""``InferenceResult`` as metadata and arrays, and back."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fluxshard_core.models.detections import Detections, InstanceMask
from fluxshard_core.offload.header import Header
from fluxshard_core.offload.messages import InferenceResult
from fluxshard_core.offload.metadata import ResultMetadata
from fluxshard_core.offload.sections import Array, Section, require_names
from fluxshard_core.offload.wire_errors import SectionError

_MASKS = {"mask_boxes", "mask_bits"}


def result_arrays(result: InferenceResult) -> dict[str, Array]:
    """Return the detections' arrays by section name, the largest last."""
    found = result.detections
    arrays: dict[str, Array] = {
        "boxes": found.boxes,
        "scores": found.scores,
        "class_ids": found.class_ids,
    }
    if found.keypoints is not None:
        arrays["keypoints"] = found.keypoints
    if found.masks is not None:
        boxes = [(mask.x, mask.y, mask.width, mask.height) for mask in found.masks]
        arrays["mask_boxes"] = np.array(boxes, dtype=np.int32).reshape(-1, 4)
        empty = np.zeros(0, dtype=np.uint8)
        arrays["mask_bits"] = np.concatenate([empty, *(mask.bits for mask in found.masks)])
    return arrays


def result_metadata(result: InferenceResult, sections: tuple[Section, ...]) -> ResultMetadata:
    """Return everything of the result that is neither in the header nor an array."""
    return ResultMetadata(
        epoch=result.epoch,
        stamp_ns=result.stamp_ns,
        stage_ms={name: float(spent) for name, spent in result.stage_ms.items()},
        error=result.error,
        checksum=result.checksum,
        dense=result.dense,
        compute_ratio=float(result.compute_ratio),
        sections=sections,
    )


def build_result(
    header: Header, session: str, metadata: ResultMetadata, arrays: dict[str, Array]
) -> InferenceResult:
    """Put a result together from its three parts; the message checks itself."""
    require_names(arrays, needed={"boxes", "scores", "class_ids"}, optional={"keypoints", *_MASKS})
    return InferenceResult(
        session=session,
        epoch=metadata.epoch,
        number=header.number,
        stamp_ns=metadata.stamp_ns,
        detections=Detections(
            boxes=arrays["boxes"],
            scores=arrays["scores"],
            class_ids=arrays["class_ids"],
            masks=_build_masks(arrays),
            keypoints=arrays.get("keypoints"),
        ),
        stage_ms=metadata.stage_ms,
        error=metadata.error,
        checksum=metadata.checksum,
        dense=metadata.dense,
        compute_ratio=metadata.compute_ratio,
    )


def _build_masks(arrays: Mapping[str, Array]) -> tuple[InstanceMask, ...] | None:
    if not _MASKS & set(arrays):
        return None
    require_names(arrays, needed=_MASKS, optional=set(arrays))
    boxes, bits = arrays["mask_boxes"], arrays["mask_bits"]
    if boxes.dtype != np.int32 or boxes.ndim != 2 or boxes.shape[1] != 4 or bits.ndim != 1:
        raise SectionError("mask boxes", expected="int32 (N, 4)", actual=boxes.shape)
    masks, start = [], 0
    for x, y, width, height in boxes.tolist():
        end = start + (max(width, 0) * max(height, 0) + 7) // 8
        masks.append(InstanceMask(x, y, width, height, bits[start:end]))
        start = end
    if start != len(bits):
        raise SectionError("mask bytes", expected=start, actual=len(bits))
    return tuple(masks)
