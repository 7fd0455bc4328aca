"""Dense islands: subgraphs without a fixed receptive field."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import DenseIsland


class TorchIsland:
    """Runs the captured function on whole maps in PyTorch's usual layout."""

    def __init__(self, node: DenseIsland) -> None:
        self._function = node.function

    def dense(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map ``(1, H, W, C)`` maps to ``(1, H, W, C)`` maps; other shapes pass unchanged."""
        images = [x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x for x in values]
        outputs = self._function(*images)
        return tuple(
            y.permute(0, 2, 3, 1).contiguous() if y.ndim == 4 else y.contiguous() for y in outputs
        )
