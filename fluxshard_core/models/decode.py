"""Turn network outputs into detections: filter, decode boxes, suppress overlaps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fluxshard_core.errors import InputError
from fluxshard_core.models.candidates import Candidates, Float32, Offset, find_candidates
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.head_layout import HeadLayout, OutputKind
from fluxshard_core.models.keypoints import decode_keypoints
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.masks import decode_masks
from fluxshard_core.models.suppression import suppress
from fluxshard_core.models.survey import survey


@torch.inference_mode()
def decode(
    outputs: Sequence[Tensor],
    layout: HeadLayout,
    letterbox: Letterbox,
    *,
    confidence: float,
    iou: float,
    max_detections: int = 300,
    offsets: Sequence[Offset | None] | None = None,
) -> Detections:
    """Decode one frame's outputs (batch 1) into detections in original pixels.

    A cell is one candidate, of its best class, kept when its score is above ``confidence``.
    Detections come best score first; equal scores keep the order level, row, column.
    ``offsets``, one per output, are the quarter pixels ``(2, H, W)`` int16 ``(dy, dx)`` that the
    content of reused cells still has to move; None is nowhere. Boxes, keypoints and suppression
    follow ultralytics' ``Detect``, ``Pose`` and ``non_max_suppression``.

    :raises InputError: for thresholds outside [0, 1], outputs that do not match ``layout`` and
        ``letterbox``, or NaN or infinite outputs.
    """
    if not (0.0 <= confidence <= 1.0 and 0.0 <= iou <= 1.0):
        raise InputError(f"confidence {confidence} and iou {iou} must be in [0, 1]")
    peaks = _check_outputs(outputs, layout, letterbox)

    def of_kind(kind: OutputKind) -> list[Tensor]:
        return [outputs[index] for index in layout.indices(kind)]

    candidates = find_candidates(outputs, peaks, layout, confidence, offsets)
    boxes = _decode_boxes(candidates, of_kind(OutputKind.BOX), layout.reg_max)
    kept = suppress(boxes, candidates.class_ids, iou, max_detections)
    candidates, original = candidates.take(kept), letterbox.boxes_to_original(boxes[kept].numpy())
    masks = keypoints = None
    if layout.keypoint_shape is not None:
        raw = candidates.gather(of_kind(OutputKind.KEYPOINT))
        keypoints = decode_keypoints(raw, candidates, layout.keypoint_shape, letterbox)
    if prototypes := of_kind(OutputKind.PROTOTYPE):
        coefficients = candidates.gather(of_kind(OutputKind.COEFFICIENT))
        masks = decode_masks(coefficients, prototypes[0][0], original, letterbox)
    return Detections(
        boxes=original,
        scores=candidates.scores.numpy(),
        class_ids=candidates.class_ids.to(torch.int32).numpy(),
        masks=masks,
        keypoints=keypoints,
    )


def _decode_boxes(candidates: Candidates, outputs: Sequence[Tensor], reg_max: int) -> Tensor:
    """Distribution focal loss decode: ``(N, 4)`` ``x1, y1, x2, y2`` in input pixels.

    Each side's distance is the mean of its softmax over ``reg_max`` bins, in strides
    (Li et al., Generalized Focal Loss, 2020).
    """
    distributions = candidates.gather(outputs).view(-1, 4, reg_max).softmax(2)
    distances = distributions @ torch.arange(reg_max, dtype=torch.float32)
    distances *= candidates.strides[:, None]
    return torch.cat(
        (candidates.anchors - distances[:, :2], candidates.anchors + distances[:, 2:]), dim=1
    )


def _check_outputs(
    outputs: Sequence[Tensor], layout: HeadLayout, letterbox: Letterbox
) -> list[Float32]:
    """Return the best logit of each cell ``(H * W,)`` of the class outputs, all being sound."""
    expected = [
        (1, o.channels, letterbox.input_height // o.stride, letterbox.input_width // o.stride)
        for o in layout.outputs
    ]
    shapes = [tuple(output.shape) for output in outputs]
    if shapes != expected:
        raise InputError(f"network outputs {shapes} do not match the expected {expected}")
    seen = survey(outputs, layout.indices(OutputKind.CLASS))
    for one, described in zip(seen, layout.outputs, strict=True):
        if not one.finite:
            raise InputError(
                f"the network's {described.kind.value} output at stride {described.stride} holds "
                "NaN or infinite values: check the weights and the input"
            )
    return [one.peaks for one in seen if one.peaks is not None]
