"""Fixtures of the sparse tests: poisoned memory, hand-built plans, random networks and motion."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.motion.field import MotionField, block_grid
from fluxshard_core.sparse import memory, scratch
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.nodes import (
    Activation,
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    DenseIsland,
    Node,
    Pointwise,
    Pool,
    Slice,
    TensorSpec,
    Upsample,
)
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.ops.backend import CpuBackend
from fluxshard_core.sparse.plan import Plan


@pytest.fixture(autouse=True)
def poisoned_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fill uninitialised memory with NaN, so that unwritten output cannot pass."""
    empty = torch.empty

    def poisoned(*size: Any, **options: Any) -> torch.Tensor:
        out = empty(*size, **options)
        if out.dtype is torch.uint8:
            return out.fill_(0xFF)  # NaN in every floating type it may be viewed as
        return out.fill_(float("nan")) if out.is_floating_point() else out

    monkeypatch.setattr(torch, "empty", poisoned)
    for module in (memory, scratch):
        monkeypatch.setattr(module, "uninitialised", lambda size: np.full(size, 0xFF, np.uint8))


NewBackend = Callable[..., Backend]


@pytest.fixture(scope="module", params=["compiled", "torch"])
def new_backend(request: pytest.FixtureRequest) -> NewBackend:
    """Make a backend: the compiled kernels and plain PyTorch in turn."""

    def make(dtype: torch.dtype = torch.float32, **options: Any) -> Backend:
        if request.param == "compiled":
            return CompiledBackend(dtype)
        return CpuBackend(dtype, **options)

    return make


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    """Bits must not depend on it, but timings and splits are those of a small robot."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@dataclass
class PlanBuilder:
    """Builds plans by hand: every method adds an operator and returns its output's name."""

    channels: int
    height: int
    width: int
    seed: int = 0
    specs: dict[str, TensorSpec] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(self.seed)
        self.specs["image"] = TensorSpec("image", self.channels, self.height, self.width, 1)

    def _output(self, channels: int, height: int, width: int, stride: int) -> str:
        name = f"t{len(self.specs)}"
        self.specs[name] = TensorSpec(name, channels, height, width, stride)
        return name

    def _weights(self, *shape: int) -> torch.Tensor:
        fan_in = max(1, int(np.prod(shape[1:])))
        return torch.randn(shape, generator=self.generator) * (1.5 / fan_in) ** 0.5

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: str | None = "silu",
        padding: tuple[int, int, int, int] | None = None,
    ) -> str:
        spec = self.specs[x]
        if padding is None:
            padding = ((kernel - 1) * dilation // 2,) * 4
        extent = (kernel - 1) * dilation + 1
        height = (spec.height + padding[0] + padding[2] - extent) // stride + 1
        width = (spec.width + padding[1] + padding[3] - extent) // stride + 1
        out = self._output(channels, height, width, spec.stride * stride)
        self.nodes.append(
            Conv(
                (x,),
                (out,),
                self._weights(channels, spec.channels // groups, kernel, kernel),
                self._weights(channels),
                (stride, stride),
                padding,
                (dilation, dilation),
                groups,
                Activation(activation) if activation else None,  # type: ignore[arg-type]
            )
        )
        return out

    def conv_transpose(
        self,
        x: str,
        channels: int,
        kernel: int = 2,
        padding: int = 0,
        output_padding: int = 0,
        groups: int = 1,
    ) -> str:
        spec = self.specs[x]
        size = [
            (cells - 1) * 2 - 2 * padding + kernel + output_padding
            for cells in (spec.height, spec.width)
        ]
        out = self._output(channels, size[0], size[1], spec.stride // 2)
        self.nodes.append(
            ConvTranspose(
                (x,),
                (out,),
                self._weights(spec.channels, channels // groups, kernel, kernel),
                self._weights(channels),
                (2, 2),
                (padding, padding),
                (output_padding, output_padding),
                groups,
                Activation("relu"),
            )
        )
        return out

    def pool(
        self, x: str, kind: Any = "max", kernel: int = 2, stride: int = 2, padding: int = 0
    ) -> str:
        spec = self.specs[x]
        height, width = (
            (cells + 2 * padding - kernel) // stride + 1 for cells in (spec.height, spec.width)
        )
        out = self._output(spec.channels, height, width, spec.stride * stride)
        self.nodes.append(
            Pool((x,), (out,), kind, (kernel, kernel), (stride, stride), (padding,) * 4)
        )
        return out

    def upsample(self, x: str, factor: int = 2) -> str:
        spec = self.specs[x]
        out = self._output(
            spec.channels, spec.height * factor, spec.width * factor, spec.stride // factor
        )
        self.nodes.append(Upsample((x,), (out,), factor))
        return out

    def concat(self, *xs: str) -> str:
        spec = self.specs[xs[0]]
        channels = sum(self.specs[x].channels for x in xs)
        out = self._output(channels, spec.height, spec.width, spec.stride)
        self.nodes.append(Concat(xs, (out,)))
        return out

    def slice(self, x: str, start: int, stop: int) -> str:
        spec = self.specs[x]
        out = self._output(stop - start, spec.height, spec.width, spec.stride)
        self.nodes.append(Slice((x,), (out,), start, stop))
        return out

    def binary(self, a: str, b: str, operator: Any = "add") -> str:
        spec = self.specs[a]
        out = self._output(spec.channels, spec.height, spec.width, spec.stride)
        self.nodes.append(Binary((a, b), (out,), operator))
        return out

    def pointwise(self, x: str, kind: Any = "silu") -> str:
        spec = self.specs[x]
        out = self._output(spec.channels, spec.height, spec.width, spec.stride)
        self.nodes.append(Pointwise((x,), (out,), Activation(kind)))
        return out

    def attention(self, x: str) -> str:
        spec = self.specs[x]
        out = self._output(spec.channels, spec.height, spec.width, spec.stride)

        def attend(value: torch.Tensor) -> tuple[torch.Tensor, ...]:
            flat = value.flatten(2)
            weights = (flat.transpose(1, 2) @ flat / 8).softmax(dim=-1)
            return ((flat @ weights).view_as(value),)

        self.nodes.append(DenseIsland((x,), (out,), attend, "attention", 1000))
        return out

    def build(self, *outputs: str) -> Plan:
        return Plan.assemble(list(self.specs.values()), self.nodes, ["image"], list(outputs))


@pytest.fixture
def plan_builder() -> type[PlanBuilder]:
    """The class that builds plans by hand."""
    return PlanBuilder


OPERATORS = {
    "conv": 0.25,
    "point": 0.12,
    "down": 0.16,
    "pool": 0.06,
    "same-pool": 0.07,
    "up": 0.07,
    "transpose": 0.06,
    "merge": 0.11,
    "other": 0.06,
    "slice": 0.04,
}


def _random_plan(seed: int) -> Plan:
    """A small network with branches, strides, merges and odd sizes, reproducible from ``seed``."""
    rng = np.random.default_rng(seed)
    height, width = (int(size) for size in rng.integers(33, 130, 2))
    builder = PlanBuilder(3, height, width, seed)
    x = "image"
    made: list[str] = []
    for _ in range(int(rng.integers(4, 10))):
        x = _random_operator(builder, rng, x, made)
        made.append(x)
    outputs = {made[-1], made[int(rng.integers(len(made)))]}
    return builder.build(*sorted(outputs))


def _random_operator(builder: PlanBuilder, rng: Any, x: str, made: list[str]) -> str:
    spec = builder.specs[x]
    channels = int(rng.choice([4, 8, 12, 16]))
    deep = min(spec.height, spec.width) < 12
    same = [
        name
        for name in made
        if name != x
        and (builder.specs[name].height, builder.specs[name].width, builder.specs[name].stride)
        == (spec.height, spec.width, spec.stride)
    ]
    choice = rng.choice(list(OPERATORS), p=list(OPERATORS.values()))
    if choice == "point":
        return builder.conv(x, channels, kernel=1, activation=_pick(rng))
    if choice == "down" and not deep:
        kernel = int(rng.choice([1, 2, 3, 5]))
        padding = (kernel // 2, kernel // 2, (kernel - 1) // 2, kernel // 2)
        return builder.conv(x, channels, kernel, stride=2, activation=_pick(rng), padding=padding)
    if choice == "pool" and not deep:
        return builder.pool(x, str(rng.choice(["max", "avg"])))
    if choice == "same-pool" and not deep:
        return builder.pool(x, str(rng.choice(["max", "avg"])), kernel=5, stride=1, padding=2)
    if choice == "up" and spec.stride >= 2:
        return builder.upsample(x)
    if choice == "transpose" and spec.stride >= 2:
        kernel, padding = ((2, 0), (3, 1), (4, 1))[int(rng.integers(3))]
        return builder.conv_transpose(x, channels, kernel, padding, output_padding=kernel % 2)
    if choice == "merge" and same:
        other = str(rng.choice(same))
        if builder.specs[other].channels == spec.channels:
            return builder.binary(x, other, str(rng.choice(["add", "mul"])))
        return builder.concat(other, x)
    if choice == "other":
        return builder.attention(x) if deep else builder.pointwise(x, "silu")
    if choice == "slice" and spec.channels >= 4:
        return builder.slice(x, spec.channels // 2, spec.channels)
    groups = int(rng.choice([1, 1, 1, 2, spec.channels])) if spec.channels % 2 == 0 else 1
    kernel, dilation = (3, int(rng.choice([1, 1, 2]))) if not deep else (3, 1)
    channels = spec.channels if groups > 1 else channels
    return builder.conv(x, channels, kernel, 1, dilation, groups, _pick(rng))


def _pick(rng: Any) -> str | None:
    kinds = ["silu", "relu", "leaky_relu", "sigmoid", "hardswish", None]
    chosen = kinds[int(rng.integers(len(kinds)))]
    return chosen


@pytest.fixture
def random_plan() -> Callable[[int], Plan]:
    """A function from a seed to a small random network."""
    return _random_plan


def _random_scene(
    plan: Plan, seed: int, frames: int, *, whole_pixels: bool = True
) -> list[tuple[torch.Tensor, MotionField]]:
    """Frames that mostly are the previous one moved block by block, and how they moved.

    Motion is piecewise constant with patches of other or unknown motion, may leave the frame, and
    some blocks get new content.
    """
    spec = plan.tensors[plan.inputs[0]]
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    shape = 1, spec.channels, spec.height, spec.width
    frame = torch.randn(shape, generator=generator)
    scene = [(frame, MotionField.zero(spec.height, spec.width))]
    for _ in range(frames - 1):
        field_ = _random_motion(spec, rng, whole_pixels)
        frame = _moved(frame, field_, rng, generator)
        scene.append((frame, field_))
    return scene


def _random_motion(spec: TensorSpec, rng: Any, whole_pixels: bool) -> MotionField:
    rows, cols = block_grid(spec.height, spec.width)
    step = int(rng.choice([4, 4, 8, 32, 64])) if whole_pixels else 1
    limit = 80 // step + 1
    vectors = np.zeros((rows, cols, 2), dtype=np.int16)
    if rng.random() < 0.6:
        vectors[:] = rng.integers(-limit, limit + 1, 2) * step
    for _ in range(int(rng.choice([0, 0, 1, 2]))):
        r0, c0 = rng.integers(rows), rng.integers(cols)
        r1, c1 = rng.integers(r0, rows) + 1, rng.integers(c0, cols) + 1
        vectors[r0:r1, c0:c1] = rng.integers(-limit, limit + 1, 2) * step
    valid = rng.random((rows, cols)) >= rng.choice([0.0, 0.0, 0.1])
    return MotionField(vectors, valid)


def _moved(
    frame: torch.Tensor, motion: MotionField, rng: Any, generator: torch.Generator
) -> torch.Tensor:
    height, width = frame.shape[2:]
    cells = np.arange(height)[:, None] // 16, np.arange(width)[None, :] // 16
    shift = np.floor_divide(motion.vectors[cells].astype(np.int64) + 2, 4)
    rows = np.arange(height)[:, None] - shift[..., 1]
    cols = np.arange(width)[None, :] - shift[..., 0]
    inside = (rows >= 0) & (rows < height) & (cols >= 0) & (cols < width)
    source = np.clip(rows, 0, height - 1), np.clip(cols, 0, width - 1)
    moved = frame[:, :, torch.from_numpy(source[0]), torch.from_numpy(source[1])]
    noise = torch.randn(frame.shape, generator=generator)
    moved = torch.where(torch.from_numpy(inside), moved, noise)
    for _ in range(int(rng.integers(0, 3))):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        size = int(rng.integers(1, 20))
        moved[:, :, y : y + size, x : x + size] = noise[:, :, y : y + size, x : x + size]
    return moved


@pytest.fixture
def random_scene() -> Callable[..., list[tuple[torch.Tensor, MotionField]]]:
    """A function from a plan, a seed and a length to frames and their motion."""
    return _random_scene
