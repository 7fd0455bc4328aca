"""The few cells of the head that are worth decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fluxshard_core.models.head_layout import HeadLayout, OutputKind
from fluxshard_core.motion.field import QUARTER_PEL

Offset = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Candidates:
    """Cells whose best class passes the confidence, best score first.

    ``level`` and ``cell`` ``(N,)`` int64 say where each came from, ``anchors`` ``(N, 2)`` are cell
    centres, moved with what reused cells hold, and ``strides`` ``(N,)`` cell sizes in input pixels,
    ``scores`` ``(N,)`` are in [0, 1].
    """

    level: Tensor
    cell: Tensor
    anchors: Tensor
    strides: Tensor
    scores: Tensor
    class_ids: Tensor

    def take(self, index: Tensor) -> Candidates:
        """Return the candidates at ``index``, in its order."""
        return Candidates(*(getattr(self, field.name)[index] for field in fields(self)))

    def gather(self, outputs: Sequence[Tensor]) -> Tensor:
        """Read the candidates' cells from one output per level: ``(N, channels)`` float32."""
        rows = torch.empty(len(self.cell), outputs[0].shape[1])
        for level, output in enumerate(outputs):
            here = self.level == level
            rows[here] = _cells(output)[self.cell[here]].to(rows.dtype)
        return rows


def find_candidates(
    outputs: Sequence[Tensor],
    layout: HeadLayout,
    confidence: float,
    offsets: Sequence[Offset | None] | None = None,
) -> Candidates:
    """Cells whose best class scores above ``confidence``; equal scores keep the cells' order.

    ``offsets``, one per output as in :func:`~fluxshard_core.models.decode.decode`, move the
    candidates to where their content is now.
    """
    levels = [
        _moved(
            _find_in_level(level, outputs[index], layout.outputs[index].stride, confidence),
            None if offsets is None else offsets[index],
        )
        for level, index in enumerate(layout.indices(OutputKind.CLASS))
    ]
    merged = Candidates(
        *(
            torch.cat([getattr(level, field.name) for level in levels])
            for field in fields(Candidates)
        )
    )
    return merged.take(merged.scores.argsort(descending=True, stable=True))


def _find_in_level(level: int, output: Tensor, stride: int, confidence: float) -> Candidates:
    logits = _cells(output)
    cell = (logits.amax(1) > _logit_bound(confidence)).nonzero().squeeze(1)
    scores, class_ids = logits[cell].to(torch.float32).sigmoid().max(1)
    width = output.shape[3]
    column_row = torch.stack((cell % width, cell // width), dim=1)
    return Candidates(
        level=torch.full_like(cell, level),
        cell=cell,
        anchors=(column_row + 0.5) * stride,
        strides=torch.full_like(scores, stride),
        scores=scores,
        class_ids=class_ids,
    ).take((scores > confidence).nonzero().squeeze(1))


def _moved(found: Candidates, offset: Offset | None) -> Candidates:
    if offset is None or not len(found.cell):
        return found
    steps = offset.reshape(2, -1)[::-1, found.cell.numpy()].T.astype(np.float32) / QUARTER_PEL
    return replace(found, anchors=found.anchors + torch.from_numpy(steps))


def _logit_bound(confidence: float) -> float:
    """A logit just below ``confidence``: it saves most sigmoids, the score itself decides."""
    if not 0.0 < confidence < 1.0:
        return -math.inf
    return math.log(confidence / (1.0 - confidence)) - 0.01


def _cells(output: Tensor) -> Tensor:
    """View ``(1, C, H, W)`` as ``(H * W, C)``; free for channels-last tensors."""
    return output[0].permute(1, 2, 0).flatten(0, 1)
