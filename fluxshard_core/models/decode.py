"""Turn network outputs into detections: filter, decode boxes, suppress overlaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import Detections
from fluxshard_core.models.head_layout import HeadLayout, OutputKind
from fluxshard_core.models.keypoints import decode_keypoints
from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.models.masks import decode_masks
from fluxshard_core.models.suppression import suppress


@dataclass(frozen=True)
class Candidates:
    """Cells whose best class passes the confidence, best score first.

    ``level`` and ``cell`` ``(N,)`` int64 say where each came from, ``anchors`` ``(N, 2)`` are cell
    centres and ``strides`` ``(N,)`` cell sizes in input pixels, ``scores`` ``(N,)`` are in [0, 1].
    """

    level: Tensor
    cell: Tensor
    anchors: Tensor
    strides: Tensor
    scores: Tensor
    class_ids: Tensor

    def take(self, index: Tensor) -> Candidates:
        """Return the candidates at ``index``, in its order."""
        return Candidates(
            self.level[index],
            self.cell[index],
            self.anchors[index],
            self.strides[index],
            self.scores[index],
            self.class_ids[index],
        )


@torch.inference_mode()
def decode(
    outputs: Sequence[Tensor],
    layout: HeadLayout,
    letterbox: Letterbox,
    *,
    confidence: float,
    iou: float,
    max_detections: int = 300,
) -> Detections:
    """Decode one frame's outputs (batch 1) into detections in original pixels.

    A cell is one candidate, of its best class, kept when its score is above ``confidence``.
    Detections come best score first; equal scores keep the order level, row, column. Boxes,
    keypoints and suppression follow ultralytics' ``Detect``, ``Pose`` and ``non_max_suppression``.

    :raises InputError: for thresholds outside [0, 1], outputs that do not match ``layout`` and
        ``letterbox``, or NaN or infinite outputs.
    """
    if not (0.0 <= confidence <= 1.0 and 0.0 <= iou <= 1.0):
        raise InputError(f"confidence {confidence} and iou {iou} must be in [0, 1]")
    _check_outputs(outputs, layout, letterbox)
    candidates = _candidates(outputs, layout, confidence)
    boxes = _decode_boxes(outputs, layout, candidates)
    kept = suppress(boxes, candidates.class_ids, iou, max_detections)
    candidates, boxes = candidates.take(kept), boxes[kept]
    original = letterbox.boxes_to_original(boxes.numpy())
    masks = keypoints = None
    if layout.keypoint_shape is not None:
        raw = gather_cells(outputs, layout.indices(OutputKind.KEYPOINT), candidates)
        keypoints = decode_keypoints(raw, candidates, layout.keypoint_shape, letterbox)
    if prototypes := layout.indices(OutputKind.PROTOTYPE):
        coefficients = gather_cells(outputs, layout.indices(OutputKind.COEFFICIENT), candidates)
        masks = decode_masks(coefficients, outputs[prototypes[0]][0], original, letterbox)
    return Detections(
        boxes=original,
        scores=candidates.scores.numpy(),
        class_ids=candidates.class_ids.to(torch.int32).numpy(),
        masks=masks,
        keypoints=keypoints,
    )


def gather_cells(
    outputs: Sequence[Tensor], levels: tuple[int, ...], candidates: Candidates
) -> Tensor:
    """Read the candidates' cells from one output per level: ``(N, channels)``."""
    rows = outputs[levels[0]].new_empty(len(candidates.cell), outputs[levels[0]].shape[1])
    for level, index in enumerate(levels):
        here = candidates.level == level
        rows[here] = _cells(outputs[index])[candidates.cell[here]]
    return rows


def _cells(output: Tensor) -> Tensor:
    """View ``(1, C, H, W)`` as ``(H * W, C)``; free for channels-last tensors."""
    return output[0].permute(1, 2, 0).flatten(0, 1)


def _candidates(outputs: Sequence[Tensor], layout: HeadLayout, confidence: float) -> Candidates:
    # The logit bound only saves work, so it may let a few too many through: the score decides.
    bound = (
        math.log(confidence / (1.0 - confidence)) - 1e-3 if 0.0 < confidence < 1.0 else -math.inf
    )
    found: list[Candidates] = []
    classes = layout.indices(OutputKind.CLASS)
    for level, (index, stride) in enumerate(zip(classes, layout.strides, strict=True)):
        logits = _cells(outputs[index])
        cell = (logits.amax(1) > bound).nonzero().squeeze(1)
        scores, class_ids = logits[cell].sigmoid().max(1)
        width = outputs[index].shape[3]
        column_row = torch.stack((cell % width, cell // width), dim=1)
        found.append(
            Candidates(
                torch.full_like(cell, level),
                cell,
                (column_row + 0.5) * stride,
                torch.full_like(scores, stride),
                scores,
                class_ids,
            ).take((scores > confidence).nonzero().squeeze(1))
        )
    merged = Candidates(
        *(
            torch.cat([getattr(part, name) for part in found])
            for name in Candidates.__dataclass_fields__
        )
    )
    return merged.take(merged.scores.argsort(descending=True, stable=True))


def _decode_boxes(outputs: Sequence[Tensor], layout: HeadLayout, candidates: Candidates) -> Tensor:
    """Distribution focal loss decode: ``(N, 4)`` ``x1, y1, x2, y2`` in input pixels.

    Each side's distance is the mean of its softmax over ``reg_max`` bins, in strides
    (Li et al., Generalized Focal Loss, 2020).
    """
    logits = gather_cells(outputs, layout.indices(OutputKind.BOX), candidates)
    bins = torch.arange(layout.reg_max, dtype=logits.dtype)
    distances = logits.view(-1, 4, layout.reg_max).softmax(2) @ bins
    distances = distances * candidates.strides[:, None]
    return torch.cat(
        (candidates.anchors - distances[:, :2], candidates.anchors + distances[:, 2:]), dim=1
    )


def _check_outputs(outputs: Sequence[Tensor], layout: HeadLayout, letterbox: Letterbox) -> None:
    expected = [
        (1, o.channels, letterbox.input_height // o.stride, letterbox.input_width // o.stride)
        for o in layout.outputs
    ]
    shapes = [tuple(output.shape) for output in outputs]
    if shapes != expected:
        raise InputError(f"network outputs {shapes} do not match the expected {expected}")
    for output, described in zip(outputs, layout.outputs, strict=True):
        # A sum is finite only if every term is, and costs a third of testing each one.
        if not math.isfinite(output.sum().item()):
            raise InputError(
                f"the network's {described.kind.value} output at stride {described.stride} holds "
                "NaN or infinite values: check the weights and the input"
            )
