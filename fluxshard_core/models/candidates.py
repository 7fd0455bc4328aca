"""The few cells of the head that are worth decoding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fluxshard_core.models.head_layout import HeadLayout, OutputKind
from fluxshard_core.models.survey import cells_of
from fluxshard_core.motion.field import QUARTER_PEL

Offset = npt.NDArray[np.int16]
Index = npt.NDArray[np.int64]
Float32 = npt.NDArray[np.float32]


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
            rows[here] = cells_of(output)[self.cell[here]].to(rows.dtype)
        return rows


def find_candidates(
    outputs: Sequence[Tensor],
    peaks: Sequence[Float32],
    layout: HeadLayout,
    confidence: float,
    offsets: Sequence[Offset | None] | None = None,
) -> Candidates:
    """Cells whose best class scores above ``confidence``; equal scores keep the cells' order.

    ``peaks`` ``(H * W,)``, one per class output: the best logit of each cell. ``offsets``, one per
    output as in :func:`~fluxshard_core.models.decode.decode`, move the candidates to where their
    content is now.
    """
    classes = layout.indices(OutputKind.CLASS)
    bound = _logit_bound(confidence)
    cells = [np.flatnonzero(peak > bound) for peak in peaks]
    logits = [
        cells_of(outputs[index])[torch.from_numpy(cell)]
        for index, cell in zip(classes, cells, strict=True)
    ]
    scores, class_ids = torch.cat(logits).to(torch.float32).sigmoid().max(1)
    strides = [layout.outputs[index].stride for index in classes]
    anchors = [
        _anchors(cell, outputs[index].shape[3], stride, offsets[index] if offsets else None)
        for cell, index, stride in zip(cells, classes, strides, strict=True)
    ]
    counts = [len(cell) for cell in cells]
    found = Candidates(
        level=torch.from_numpy(np.repeat(np.arange(len(cells)), counts)),
        cell=torch.from_numpy(np.concatenate(cells)),
        anchors=torch.from_numpy(np.concatenate(anchors)),
        strides=torch.from_numpy(np.repeat(np.array(strides, dtype=np.float32), counts)),
        scores=scores,
        class_ids=class_ids,
    )
    best_first = scores.argsort(descending=True, stable=True)
    return found.take(best_first[: int((scores > confidence).count_nonzero())])


def _anchors(cell: Index, width: int, stride: int, offset: Offset | None) -> Float32:
    """Centres ``(N, 2)`` of cells in a level ``width`` cells wide, moved by their ``offset``."""
    columns_rows = np.stack((cell % width, cell // width), axis=1).astype(np.float32)
    anchors: Float32 = (columns_rows + np.float32(0.5)) * np.float32(stride)
    if offset is not None:
        anchors += offset.reshape(2, -1)[::-1, cell].T.astype(np.float32) / QUARTER_PEL
    return anchors


def _logit_bound(confidence: float) -> float:
    """A logit just below ``confidence``: it saves most sigmoids, the score itself decides."""
    if not 0.0 < confidence < 1.0:
        return -math.inf
    return math.log(confidence / (1.0 - confidence)) - 0.01
