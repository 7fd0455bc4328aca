"""A fused model cut before its dense decode: spatial tensors in, spatial tensors out."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from fluxshard_core.models.detections import UInt8
from fluxshard_core.models.head_layout import HeadLayout, HeadOutput, OutputKind
from fluxshard_core.sparse.pixels import as_numbers

PROTOTYPE_STRIDE = 4


class Network(nn.Module):
    """The convolutional part of a fused ultralytics model.

    Input: ``(N, 3, H, W)`` float32 RGB in [0, 1], sides multiples of 32. Output: the flat tuple of
    NCHW tensors that ``layout`` describes. No BatchNorm, no reshape of the head, no decode, so
    every output keeps the spatial structure of its level and the module is ``torch.export``-able.
    """

    def __init__(self, fused: nn.Module) -> None:
        super().__init__()
        *layers, head = cast(nn.Sequential, fused.model)
        self.layers = nn.ModuleList(layers)
        self.head = _Head(head)
        self.layout = _layout(head)
        self._sources = tuple(_sources(layer) for layer in (*layers, head))
        self._kept = frozenset(i for sources in self._sources for i in sources if i != -1)
        self.eval().requires_grad_(False)
        for parameter in self.parameters():
            if parameter.ndim == 4:  # measured faster than the default layout on a CPU
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Run every layer; ``image`` is ``(N, 3, H, W)`` float32 in [0, 1]."""
        kept: dict[int, Tensor] = {}
        x = image
        for index, layer in enumerate(self.layers):
            inputs = [x if source == -1 else kept[source] for source in self._sources[index]]
            x = layer(inputs if len(inputs) > 1 else inputs[0])
            if index in self._kept:
                kept[index] = x
        return self.head([kept[source] for source in self._sources[-1]])  # type: ignore[no-any-return]

    def class_convolutions(self) -> list[nn.Module]:
        """The last convolution of each level's class branch, which emits the class logits."""
        return [cast(nn.Sequential, branch)[-1] for branch in self.head.classes]


class _Head(nn.Module):
    """The convolution branches of a Detect, Segment or Pose head, without its decode."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.box = cast(nn.ModuleList, head.cv2)
        self.classes = cast(nn.ModuleList, head.cv3)
        self.extra = cast(nn.ModuleList, getattr(head, "cv4", nn.ModuleList()))
        self.prototypes = cast("nn.Module | None", getattr(head, "proto", None))

    def forward(self, features: list[Tensor]) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        for x, box, classes in zip(features, self.box, self.classes, strict=True):
            outputs += [box(x), classes(x)]
        outputs += [branch(x) for x, branch in zip(features, self.extra, strict=False)]
        if self.prototypes is not None:
            outputs.append(self.prototypes(features[0]))
        return tuple(outputs)


def _sources(layer: nn.Module) -> tuple[int, ...]:
    """Indices of the layers an ultralytics layer reads; -1 is the one before it."""
    source = cast("int | list[int]", layer.f)
    return (source,) if isinstance(source, int) else tuple(source)


def _layout(head: Any) -> HeadLayout:
    strides = [int(stride) for stride in head.stride]
    outputs: list[HeadOutput] = []
    for stride in strides:
        outputs.append(HeadOutput(OutputKind.BOX, stride, 4 * head.reg_max))
        outputs.append(HeadOutput(OutputKind.CLASS, stride, head.nc))
    keypoint_shape: tuple[int, int] | None = None
    if hasattr(head, "kpt_shape"):
        keypoint_shape = (int(head.kpt_shape[0]), int(head.kpt_shape[1]))
        outputs += [HeadOutput(OutputKind.KEYPOINT, stride, head.nk) for stride in strides]
    elif hasattr(head, "nm"):
        outputs += [HeadOutput(OutputKind.COEFFICIENT, stride, head.nm) for stride in strides]
        outputs.append(HeadOutput(OutputKind.PROTOTYPE, PROTOTYPE_STRIDE, head.nm))
    return HeadLayout(tuple(outputs), head.nc, head.reg_max, keypoint_shape)


def network_input(image: UInt8) -> Tensor:
    """Turn a ``(H, W, 3)`` RGB image into ``(1, 3, H, W)`` float32 in [0, 1], channels last."""
    return as_numbers(network_bytes(image))


def network_bytes(image: UInt8) -> Tensor:
    """Return a ``(H, W, 3)`` RGB image as ``(1, 3, H, W)`` uint8, channels last: what an executor
    turns into the numbers of :func:`network_input` itself. Shares the image's memory if it can."""
    owned = np.require(image, requirements=["C", "W"])  # what from_numpy can wrap
    return torch.from_numpy(owned).permute(2, 0, 1).unsqueeze(0)
