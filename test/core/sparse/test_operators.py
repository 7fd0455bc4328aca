"""Every operator over tiles: right against the reference, and bitwise what its dense form gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from fluxshard_core.sparse.binding import WindowStep
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.nodes import Conv, ConvTranspose, Pool
from fluxshard_core.sparse.plan import Plan
from fluxshard_kernels.reference.conv import convolve_cell, convolve_transposed
from fluxshard_kernels.reference.pool import pool_cell, upsample_nearest

ACTIVATIONS = {
    None: lambda x: x,
    "silu": torch.nn.functional.silu,
    "relu": torch.relu,
    "leaky_relu": torch.nn.functional.leaky_relu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "hardswish": torch.nn.functional.hardswish,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "relu6": torch.nn.functional.relu6,
    "gelu": torch.nn.functional.gelu,
}

CONVOLUTIONS = {
    "3x3": {"channels": 12},
    "1x1": {"channels": 12, "kernel": 1},
    "stride 2": {"channels": 8, "stride": 2},
    "1x1 stride 2": {"channels": 8, "kernel": 1, "stride": 2},
    "5x5 dilated": {"channels": 4, "kernel": 5, "dilation": 2},
    "depthwise": {"channels": 8, "groups": 8},
    "grouped": {"channels": 12, "groups": 2},
    "asymmetric padding": {"channels": 8, "stride": 2, "padding": (0, 0, 1, 1)},
    "no padding": {"channels": 8, "padding": (0, 0, 0, 0)},
}


def single_operator(
    plan: Plan, new_backend: Any, dtype: torch.dtype, tile: int
) -> tuple[WindowStep, Any, Any]:
    """The last step of a plan after a dense run on noise, its network, and its output."""
    sizes = dict.fromkeys((1, 2, 4), tile)
    executor = Executor(plan, new_backend(dtype), ExecutorOptions(tile_sizes=sizes))
    spec = plan.tensors["image"]
    generator = torch.Generator().manual_seed(1)
    frame = torch.randn((1, spec.channels, spec.height, spec.width), generator=generator)
    run = executor.run(frame, None, np.zeros((-(-spec.height // 16), -(-spec.width // 16)), bool))
    step = executor.network.steps[-1]
    return step, executor.network, run.outputs[0][0].permute(1, 2, 0)


def tile_values(step: Any, network: Any) -> tuple[torch.Tensor, list[tuple[int, int]]]:
    """The operator over about half of its tiles, and where they start."""
    grid = network.grid_of(step.output)
    marked = np.random.default_rng(2).random(grid.shape) < 0.5
    marked[-1, -1] = True
    tiles = grid.select(marked)
    if isinstance(step, WindowStep):
        values = step.operator.tiles(network.cache[step.source], tiles)
    else:
        values = step.operator.apply(*(network.cache[name].read(tiles) for name in step.sources))
    return values, list(zip(tiles.top.tolist(), tiles.left.tolist(), strict=True))


def assert_tiles_equal_dense(plan: Plan, new_backend: Any, dtype: torch.dtype, tile: int) -> None:
    step, network, dense = single_operator(plan, new_backend, dtype, tile)
    values, corners = tile_values(step, network)
    height, width = values.shape[1:3]
    for value, (top, left) in zip(values, corners, strict=True):
        assert torch.equal(value, dense[top : top + height, left : left + width])


@pytest.mark.parametrize("tile", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("shape", CONVOLUTIONS)
def test_tile_convolution_equals_the_dense_one_bit_for_bit(
    plan_builder: Any, shape: str, dtype: torch.dtype, tile: int, new_backend: Any
) -> None:
    builder = plan_builder(8, 29, 21)
    assert_tiles_equal_dense(
        builder.build(builder.conv("image", **CONVOLUTIONS[shape])), new_backend, dtype, tile
    )


@pytest.mark.parametrize("tile", [1, 4])
@pytest.mark.parametrize(("channels", "out", "stride"), [(256, 256, 2), (512, 64, 1)])
def test_wide_convolutions_whose_sums_depend_on_the_shape_still_agree(
    plan_builder: Any, channels: int, out: int, stride: int, tile: int, new_backend: Any
) -> None:
    builder = plan_builder(channels, 64, 64)
    plan = builder.build(builder.conv("image", out, stride=stride))
    assert_tiles_equal_dense(plan, new_backend, torch.float32, tile)


@pytest.mark.parametrize("shape", CONVOLUTIONS)
def test_convolution_equals_the_reference(plan_builder: Any, shape: str, new_backend: Any) -> None:
    builder = plan_builder(8, 13, 11)
    plan = builder.build(builder.conv("image", **CONVOLUTIONS[shape], activation=None))
    _, network, dense = single_operator(plan, new_backend, torch.float32, 4)
    node = plan.nodes[0]
    assert isinstance(node, Conv)
    image = network.cache["image"].frame()
    for row in range(dense.shape[0]):
        for col in range(dense.shape[1]):
            expected = convolve_cell(
                image,
                node.weight,
                node.bias,
                (row, col),
                node.stride,
                node.padding[:2],
                node.dilation,
                node.groups,
            )
            torch.testing.assert_close(dense[row, col].double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ACTIVATIONS)
def test_activations_are_what_pytorch_computes_fused_or_alone(
    plan_builder: Any, kind: Any, new_backend: Any
) -> None:
    builder = plan_builder(8, 20, 20)
    plain = builder.conv("image", 8, activation=None)
    fused = builder.conv("image", 8, activation=kind)
    builder.nodes[-1] = _same_weights(builder.nodes[-1], builder.nodes[-2])
    outputs = [plain, fused, builder.pointwise(plain, kind)] if kind else [plain, fused]
    run = Executor(builder.build(*outputs), new_backend()).run(
        torch.randn(1, 8, 20, 20) * 3, None, np.ones((2, 2), bool)
    )
    before, *after = run.outputs
    for output in after:
        torch.testing.assert_close(output, ACTIVATIONS[kind](before), rtol=1e-5, atol=1e-5)


def _same_weights(node: Conv, other: Conv) -> Conv:
    return Conv(
        node.inputs, node.outputs, other.weight, other.bias, node.stride, node.padding,
        activation=node.activation,
    )  # fmt: skip


@pytest.mark.parametrize("tile", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize(
    ("kernel", "padding", "output_padding", "groups"),
    [(2, 0, 0, 1), (3, 1, 1, 1), (4, 1, 0, 2), (2, 0, 0, 4)],
)
def test_transposed_convolution_equals_reference_and_dense(
    plan_builder: Any,
    kernel: int,
    padding: int,
    output_padding: int,
    groups: int,
    dtype: torch.dtype,
    tile: int,
    new_backend: Any,
) -> None:
    builder = plan_builder(8, 26, 22)
    half = builder.conv("image", 8, stride=2, activation=None)
    plan = builder.build(builder.conv_transpose(half, 4, kernel, padding, output_padding, groups))
    assert_tiles_equal_dense(plan, new_backend, dtype, tile)
    if dtype is torch.float32:
        _, network, dense = single_operator(plan, new_backend, dtype, tile)
        node = plan.nodes[-1]
        assert isinstance(node, ConvTranspose)
        expected = convolve_transposed(
            network.cache[half].frame(),
            node.weight,
            node.bias,
            (dense.shape[0], dense.shape[1]),
            node.stride,
            node.padding,
            groups,
        ).relu()
        torch.testing.assert_close(dense.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tile", [1, 3, 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (5, 1, 2), (3, 2, 1)])
def test_pool_equals_reference_and_dense(
    plan_builder: Any,
    kind: Any,
    kernel: int,
    stride: int,
    padding: int,
    dtype: torch.dtype,
    tile: int,
    new_backend: Any,
) -> None:
    builder = plan_builder(5, 19, 23)
    plan = builder.build(builder.pool("image", kind, kernel, stride, padding))
    assert_tiles_equal_dense(plan, new_backend, dtype, tile)
    _, network, dense = single_operator(plan, new_backend, dtype, tile)
    node = plan.nodes[0]
    assert isinstance(node, Pool)
    image = network.cache["image"].frame() - (3 if kind == "max" else 0)
    tolerance = 1e-6 if dtype is torch.float32 else 1e-2
    for row, col in [(0, 0), (3, 4), (dense.shape[0] - 1, dense.shape[1] - 1)]:
        expected = pool_cell(image, kind, (row, col), node.kernel, node.stride, (padding, padding))
        shift = 3 if kind == "max" else 0
        torch.testing.assert_close(
            dense[row, col].double() - shift, expected, rtol=tolerance, atol=tolerance
        )


def test_a_maximum_of_negative_values_ignores_the_padding(
    plan_builder: Any, new_backend: Any
) -> None:
    builder = plan_builder(4, 24, 24)
    pooled = builder.pool("image", "max", 3, 1, 1)
    convolved = builder.conv("image", 4)  # the same cache is also read with zeros around it
    plan = builder.build(pooled, convolved)
    executor = Executor(plan, new_backend(), ExecutorOptions(crossing=9.0))
    frame = -1.0 - torch.rand(1, 4, 24, 24)
    everything = np.ones((2, 2), bool)
    dense = executor.run(frame, None, everything).outputs
    tiled = executor.run(frame, None, everything).outputs
    assert (tiled[0] <= -1.0).all()
    assert torch.equal(tiled[0], dense[0])
    assert torch.equal(tiled[1], dense[1])


@pytest.mark.parametrize("tile", [1, 3, 8])
@pytest.mark.parametrize("factor", [2, 4])
def test_upsampling_repeats_cells(
    plan_builder: Any, factor: int, tile: int, new_backend: Any
) -> None:
    builder = plan_builder(3, 36, 28)
    small = builder.conv("image", 4, 3, stride=factor, activation=None)
    plan = builder.build(builder.upsample(small, factor))
    assert_tiles_equal_dense(plan, new_backend, torch.float32, tile)
    _, network, dense = single_operator(plan, new_backend, torch.float32, tile)
    assert torch.equal(dense, upsample_nearest(network.cache[small].frame(), factor))
