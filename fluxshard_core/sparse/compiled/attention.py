"""CompiledAttention: the island that is a map's attention to itself, in one kernel."""

from __future__ import annotations

import torch

from fluxshard_core.sparse.nodes import TensorSpec
from fluxshard_core.sparse.recognise_attention import Attention
from fluxshard_core.sparse.scratch import Scratch
from fluxshard_core.threads import compute_threads
from fluxshard_kernels.cpu.attention_kernel import Heads
from fluxshard_kernels.cpu.library import Library


class CompiledAttention:
    """Every cell is computed by itself, in one order, whatever the number of threads."""

    def __init__(
        self, library: Library, attention: Attention, source: TensorSpec, dtype: torch.dtype
    ) -> None:
        """``source``: the map that is read; ``dtype``: of the features."""
        self._kernel, self._attention, self._dtype = library.attention, attention, dtype
        self._heads = Heads(source.cells, attention.heads, attention.key, attention.value)
        self._shape = (1, source.height, source.width)
        self._scratch = Scratch()

    def dense(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Map the map ``(1, H, W, C)`` to ``(1, H, W, heads * value)`` maps.

        :raises ValueError: for another shape or dtype than those it was made for.
        """
        (source,) = values
        heads, expected = self._heads, (*self._shape, self._heads.channels)
        if source.shape != expected or source.dtype is not self._dtype:
            found = f"{source.dtype} {tuple(source.shape)}"
            raise ValueError(f"attention reads {self._dtype} {expected}, not {found}")
        source = source.contiguous()
        attended, seen = (
            torch.empty((*self._shape, heads.out_channels), dtype=self._dtype) for _ in range(2)
        )
        self._kernel.attend(
            heads,
            source.data_ptr(),
            self._attention.scale,
            self._scratch.take((self._kernel.room(heads),), torch.float32).data_ptr(),
            (attended.data_ptr(), seen.data_ptr() if "values" in self._attention.results else None),
            compute_threads(),
            half=self._dtype is torch.bfloat16,
        )
        results = {"attention": attended, "values": seen}
        return tuple(results[name] for name in self._attention.results)
