"""The operators a plan is made of: small frozen records, no execution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import torch

from fluxshard_core.reuse.remap import Level

PointwiseKind = Literal[
    "relu", "silu", "sigmoid", "tanh", "leaky_relu", "hardswish", "hardsigmoid", "relu6", "gelu"
]

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]
"""Rows and columns of padding: top, left, bottom, right."""

IslandFunction = Callable[..., tuple[torch.Tensor, ...]]


class CacheNeed(Enum):
    """When the executor keeps a tensor between frames."""

    NEVER = "never"
    FILTERED = "filtered"
    """Only where every tensor has its own active set: exact and bounded mode."""
    ALWAYS = "always"


@dataclass(frozen=True)
class TensorSpec:
    """One feature map of the plan, batch size one.

    ``stride`` is the cumulative stride (pixels of the input per cell); 0 marks a tensor without
    spatial meaning (a pooled vector), which only islands produce and only islands or outputs read.
    ``branch`` names the head or shape branch it belongs to (``reuse/level_keys.py``), 0 is the
    trunk. ``branch``, ``cache`` and ``cache_reason`` are filled in by :meth:`Plan.assemble`.
    """

    name: str
    channels: int
    height: int
    width: int
    stride: int
    branch: int = 0
    cache: CacheNeed = CacheNeed.NEVER
    cache_reason: str = ""

    @property
    def cells(self) -> int:
        """Number of spatial positions."""
        return self.height * self.width

    @property
    def level(self) -> Level:
        """What it shares with all maps that are moved and recomputed together."""
        return Level(self.stride, self.height, self.width, self.branch)


@dataclass(frozen=True)
class Activation:
    """An elementwise function; ``slope`` is used by ``leaky_relu`` alone."""

    kind: PointwiseKind
    slope: float = 0.01


@dataclass(frozen=True, eq=False)
class Node:
    """One operator: reads ``inputs``, writes ``outputs`` (tensor names)."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def output(self) -> str:
        """The only output; islands, which may have several, use ``outputs``."""
        (name,) = self.outputs
        return name

    @property
    def window(self) -> Window | None:
        """The neighbourhood read per output cell; ``None`` when it is the same cell alone."""
        return None

    @property
    def cell_cost(self) -> int:
        """Multiply-accumulates per output cell."""
        return 0

    def describe(self) -> str:
        """Operator and parameters in a few words."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Window:
    """Which input cells an output cell reads: ``o*stride - padding + i*dilation``, ``i < kernel``.

    ``pad_value`` is what the operator sees outside the frame: zero, or minus infinity for a
    maximum.
    """

    kernel: Pair
    stride: Pair
    padding: Padding
    dilation: Pair = (1, 1)
    pad_value: float = 0.0

    @property
    def extent(self) -> Pair:
        """Rows and columns of input spanned by one output cell."""
        kernel, dilation = self.kernel, self.dilation
        return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1

    @property
    def is_pointwise(self) -> bool:
        """Whether an output cell reads exactly the input cell at its own position."""
        return self.kernel == (1, 1) and self.stride == (1, 1) and not any(self.padding)


@dataclass(frozen=True, eq=False)
class Conv(Node):
    """Convolution, bias and activation. ``weight`` is ``(out, in / groups, kh, kw)`` float32."""

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    activation: Activation | None = None

    @property
    def kernel(self) -> Pair:
        """Kernel height and width."""
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def window(self) -> Window | None:
        window = Window(self.kernel, self.stride, self.padding, self.dilation)
        return None if window.is_pointwise else window

    @property
    def cell_cost(self) -> int:
        return self.weight.numel()

    def describe(self) -> str:
        text = f"conv {self.kernel[0]}x{self.kernel[1]}"
        if self.stride != (1, 1):
            text += f" /{self.stride[0]}"
        if self.dilation != (1, 1):
            text += f" dilation {self.dilation[0]}"
        if self.groups != 1:
            text += f" groups {self.groups}"
        return f"{text} {self.activation.kind}" if self.activation else text


@dataclass(frozen=True, eq=False)
class ConvTranspose(Node):
    """Transposed convolution. ``weight`` is ``(in, out / groups, kh, kw)`` float32.

    ``padding`` and ``output_padding`` are those of :func:`torch.conv_transpose2d`; a dilated one
    belongs in a :class:`DenseIsland`.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    output_padding: Pair = (0, 0)
    groups: int = 1
    activation: Activation | None = None

    @property
    def kernel(self) -> Pair:
        """Kernel height and width."""
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def cell_cost(self) -> int:
        """Mean multiply-accumulates per output cell: the kernel's taps are shared by a stride."""
        return -(-self.weight.numel() // (self.stride[0] * self.stride[1]))

    def describe(self) -> str:
        text = f"conv transposed {self.kernel[0]}x{self.kernel[1]} x{self.stride[0]}"
        return f"{text} {self.activation.kind}" if self.activation else text


@dataclass(frozen=True, eq=False)
class Pool(Node):
    """Maximum or average over a window.

    Padding reads as minus infinity for ``max`` and as zero, counted in the mean, for ``avg``.
    A pool whose window count varies at the border (``count_include_pad=False`` with padding,
    ``avg`` with ``ceil_mode``) belongs in a :class:`DenseIsland`; ``max`` with ``ceil_mode`` is
    expressed by a larger bottom and right padding.
    """

    kind: Literal["max", "avg"]
    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)
    dilation: Pair = (1, 1)

    @property
    def window(self) -> Window:
        pad_value = float("-inf") if self.kind == "max" else 0.0
        return Window(self.kernel, self.stride, self.padding, self.dilation, pad_value)

    def describe(self) -> str:
        return f"{self.kind} pool {self.kernel[0]}x{self.kernel[1]} /{self.stride[0]}"


@dataclass(frozen=True, eq=False)
class Upsample(Node):
    """Nearest-neighbour enlargement by a whole factor."""

    factor: int = 2

    def describe(self) -> str:
        return f"upsample x{self.factor}"


@dataclass(frozen=True, eq=False)
class Concat(Node):
    """Channel concatenation, inputs in order."""


@dataclass(frozen=True, eq=False)
class Slice(Node):
    """Channels ``start`` (included) to ``stop`` (excluded); a split is several of these."""

    start: int
    stop: int

    def describe(self) -> str:
        return f"slice {self.start}:{self.stop}"


@dataclass(frozen=True, eq=False)
class Binary(Node):
    """Elementwise sum or product of two tensors of one shape."""

    operator: Literal["add", "mul"]

    def describe(self) -> str:
        return self.operator


@dataclass(frozen=True, eq=False)
class Pointwise(Node):
    """An activation that could not be fused into a convolution."""

    activation: Activation

    def describe(self) -> str:
        return self.activation.kind


@dataclass(frozen=True, eq=False)
class DenseIsland(Node):
    """A subgraph without a fixed receptive field, run whole.

    ``function`` takes one contiguous ``(1, C, H, W)`` tensor per input and returns one tensor per
    output; it must be a pure function of its inputs and work in the dtype it is given.
    """

    function: IslandFunction
    reason: str
    multiply_accumulates: int = 0

    def describe(self) -> str:
        return f"dense island ({self.reason})"
