"""Primitive: one convolution call with bias and activation fused, weights packed once."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch
import torch.nn.functional as functional

from fluxshard_core.sparse.nodes import Activation, Pair
from fluxshard_core.sparse.ops.elementwise import activate
from fluxshard_core.sparse.ops.packing import PackedWeights

# oneDNN builds a primitive for every batch size of every convolution and keeps the last 1024, read
# from here when it first needs one. A hundred layers with a few dozen batch sizes each would build
# one anew in every call (a third of a frame's time on real video).
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

# Post-operations that oneDNN applies while the result is still in registers.
_FUSED: dict[str, tuple[str, list[float], str]] = {
    "relu": ("relu", [], ""),
    "silu": ("swish", [], ""),
    "sigmoid": ("sigmoid", [], ""),
    "tanh": ("tanh", [], ""),
    "hardswish": ("hardswish", [], ""),
    "gelu": ("gelu", [], "none"),
}


@functools.cache
def is_available() -> bool:
    """Whether this PyTorch was built with oneDNN's fused convolutions."""
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class Primitive:
    """A convolution over channels-last float32 tensors ``(n, h, w, C)``.

    Uses oneDNN through the operator that ``torch.compile`` lowers to, because it takes weights
    already in the library's own order: reordering them in every call costs more than the whole
    convolution when few tiles of a deep layer are active. Without oneDNN it is ``conv2d``.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        *,
        stride: Pair = (1, 1),
        dilation: Pair = (1, 1),
        groups: int = 1,
        activation: Activation | None = None,
    ) -> None:
        self.weight = weight.detach().float().contiguous(memory_format=torch.channels_last)
        self.bias = None if bias is None else bias.detach().float()
        self.stride, self.dilation, self.groups = stride, dilation, groups
        self.activation = activation
        self._fused: tuple[str, list[float], str] | None = ("none", [], "")
        if activation:
            self._fused = _FUSED.get(activation.kind)
        # The arguments of a call without padding, converted from Python once.
        self._unpadded: tuple[object, ...] | None = None
        if is_available() and self._fused:
            geometry = [0, 0], list(stride), list(dilation), groups
            self._unpadded = (self.bias, *geometry, *self._fused)
        self._packed = PackedWeights(self._pack, self._convolve_unpadded)

    @functools.cached_property
    def geometry(self) -> str:
        """Everything but the values that decides which algorithm runs."""
        kind = self.activation.kind if self.activation else None
        shape = tuple(self.weight.shape)
        return repr((shape, self.stride, self.dilation, self.groups, kind))

    def whole(self, x: torch.Tensor, padding: Pair = (0, 0)) -> torch.Tensor:
        """Convolve a whole map ``(1, H, W, in)``; its shape is met rarely, so nothing is packed."""
        if len(x) == 1:  # the one batch stride for which the layout is plain
            x = x[0].contiguous().unsqueeze(0)
        out = self._convolve(x.permute(0, 3, 1, 2), self.weight, padding)
        return out.permute(0, 2, 3, 1).contiguous()

    def batch(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve ``(n, h, w, in)`` without padding, with weights packed once."""
        return self.images(x.contiguous().permute(0, 3, 1, 2)).permute(0, 2, 3, 1)

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """As :meth:`batch` for ``(n, in, h, w)`` to ``(n, out, h, w)``, channels-last in memory."""
        if is_available():
            out = self._packed.convolve(images)
        else:
            out = self._convolve_unpadded(images, self.weight)
        return out.contiguous(memory_format=torch.channels_last)

    def _convolve_unpadded(self, images: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if self._unpadded is None:
            return self._convolve(images, weight, (0, 0))
        out: torch.Tensor = torch.ops.mkldnn._convolution_pointwise.default(
            images, weight, *self._unpadded
        )
        return out

    def _pack(self, images: torch.Tensor) -> torch.Tensor:
        nn: Any = torch._C._nn
        packed: torch.Tensor = nn.mkldnn_reorder_conv2d_weight(
            self.weight.to_mkldnn(),
            [0, 0],
            list(self.stride),
            list(self.dilation),
            self.groups,
            list(images.shape),
        )
        return packed

    def _convolve(self, images: torch.Tensor, weight: torch.Tensor, padding: Pair) -> torch.Tensor:
        if not is_available():
            out = functional.conv2d(
                images, weight, self.bias, self.stride, padding, self.dilation, self.groups
            )
            return activate(self.activation, out) if self.activation else out
        name, scalars, algorithm = self._fused or ("none", [], "")
        out = torch.ops.mkldnn._convolution_pointwise.default(
            images,
            weight,
            self.bias,
            list(padding),
            list(self.stride),
            list(self.dilation),
            self.groups,
            name,
            scalars,
            algorithm,
        )
        if self.activation and self._fused is None:
            out = activate(self.activation, out)
        return out
