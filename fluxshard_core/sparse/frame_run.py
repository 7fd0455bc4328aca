"""FrameRun: what an executor made of one frame, and what that cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from fluxshard_core.reuse.remap import Int16, Level
from fluxshard_core.sparse.active import Bool


@dataclass(frozen=True, eq=False)
class FrameRun:
    """What one frame produced.

    ``outputs``: one ``(1, C, H, W)`` tensor (channels-last in memory) per output of the plan, or
    whatever shape an island gave, owned by the caller. ``offsets``: per output the quarter pixels
    ``(2, H, W)`` int16 ``(dy, dx)`` that the content of each cell still has to move, None where
    all is in its place. ``executed``: multiply-accumulates really
    done, tile rounding, batch padding and dense islands included. ``recomputed``: per level the
    cells ``(H, W)`` computed in every map. ``dense_reason``: why the whole frame was computed, or
    empty.
    """

    outputs: tuple[torch.Tensor, ...]
    offsets: tuple[Int16 | None, ...]
    executed: int
    dense: int
    recomputed: Mapping[Level, Bool]
    dense_reason: str = ""

    @property
    def compute_ratio(self) -> float:
        """Executed over dense multiply-accumulates."""
        return self.executed / max(1, self.dense)

    @property
    def reuse_ratio(self) -> float:
        """Share of the input's area whose finest features were reused."""
        finest = min(self.recomputed)
        return 1.0 - float(self.recomputed[finest].mean())
