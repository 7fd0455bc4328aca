"""What each output tensor of a network is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class OutputKind(Enum):
    """The role of one output tensor."""

    BOX = "box"  # distribution logits: left, top, right, bottom, reg_max bins each
    CLASS = "class"  # class logits
    COEFFICIENT = "coefficient"  # mask coefficients
    KEYPOINT = "keypoint"  # raw keypoints, interleaved x, y(, confidence logit)
    PROTOTYPE = "prototype"  # mask prototypes


@dataclass(frozen=True)
class HeadOutput:
    """One output: ``(N, channels, H / stride, W / stride)`` float32."""

    kind: OutputKind
    stride: int
    channels: int


@dataclass(frozen=True)
class HeadLayout:
    """All outputs of a network, in order.

    Box and class alternate by level, then coefficients or keypoints by level, prototypes last.
    ``keypoint_shape`` is ``(keypoints, 2 or 3)`` for pose models.
    """

    outputs: tuple[HeadOutput, ...]
    num_classes: int
    reg_max: int
    keypoint_shape: tuple[int, int] | None = None

    def indices(self, kind: OutputKind) -> tuple[int, ...]:
        """Positions of the outputs of one kind, shallowest level first."""
        return tuple(i for i, output in enumerate(self.outputs) if output.kind is kind)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the detection levels, shallowest first."""
        return tuple(self.outputs[i].stride for i in self.indices(OutputKind.BOX))
