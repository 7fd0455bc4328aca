"""An island runs as the attention kernel only if it is an attention and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.loading import random_model
from fluxshard_core.sparse.binding import IslandStep
from fluxshard_core.sparse.capture import capture
from fluxshard_core.sparse.compiled.attention import CompiledAttention
from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.executor import Executor, ExecutorOptions
from fluxshard_core.sparse.nodes import DenseIsland
from fluxshard_core.sparse.ops.island import TorchIsland
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.recognise_attention import Attention, recognise_attention

HEADS, KEY, VALUE, SCALE = 2, 3, 4, 0.7
ROWS, COLS = 5, 7
IMAGE = 1, 3, 2 * ROWS, 2 * COLS
pytestmark = pytest.mark.filterwarnings(
    "ignore::fluxshard_core.sparse.capture.UnknownOperatorWarning"
)


class Network(nn.Module):
    """Some function of a map, of 20 channels unless told otherwise, between convolutions."""

    def __init__(
        self, function: Callable[[Tensor], tuple[Tensor, ...]], read: int = 20, given: int = 8
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before = nn.Conv2d(3, read, 3, 2, 1)
        self.after = nn.Conv2d(given, 2, 3, padding=1)
        self.function = function

    def forward(self, image: Tensor) -> Tensor:
        return sum(self.after(result) for result in self.function(self.before(image) * 2))


def split(x: Tensor) -> tuple[Tensor, ...]:
    return x.view(1, HEADS, 2 * KEY + VALUE, ROWS * COLS).split([KEY, KEY, VALUE], dim=2)


def joined(x: Tensor) -> Tensor:
    return x.reshape(1, HEADS * VALUE, ROWS, COLS)


def scores(query: Tensor, key: Tensor) -> Tensor:
    return (query * SCALE).transpose(-2, -1) @ key


def mean(value: Tensor, scores: Tensor) -> Tensor:
    return joined(value @ scores.softmax(dim=-1).transpose(-2, -1))


def as_in_yolo11(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return mean(value, scores(query, key)), joined(value)


def values_first(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return joined(value), mean(value, scores(query, key))


def only_attention(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return (mean(value, scores(query, key)),)


def scaled_scores(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    seen = joined(value)
    return mean(value, (query.transpose(2, 3) @ key) * SCALE), seen


def unscaled(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return (mean(value, query.transpose(3, 2) @ key),)


KNOWN = {
    as_in_yolo11: (SCALE, {"attention", "values"}),
    values_first: (SCALE, {"attention", "values"}),
    only_attention: (SCALE, {"attention"}),
    scaled_scores: (SCALE, {"attention", "values"}),
    unscaled: (1.0, {"attention"}),
}


def of_scores(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], tuple[Tensor, ...]]:
    def function(x: Tensor) -> tuple[Tensor, ...]:
        query, key, value = split(x)
        return (mean(value, change(scores(query, key))),)

    return function


def of_parts(
    compute: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Callable[[Tensor], tuple[Tensor, ...]]:
    return lambda x: (joined(compute(*split(x))),)


def other_axis(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return (joined(value @ scores(query, key).softmax(dim=-2).transpose(-2, -1)),)


def two_maps(x: Tensor) -> tuple[Tensor, ...]:
    """A query from one map, key and value from another."""
    query, _, _ = split(x)
    _, key, value = split(x.relu())
    return (mean(value, scores(query, key)),)


def values_first_in_channels(x: Tensor) -> tuple[Tensor, ...]:
    by_head = x.view(1, HEADS, 2 * KEY + VALUE, ROWS * COLS)
    value, query, key = by_head.split([VALUE, KEY, KEY], dim=2)
    return (mean(value, scores(query, key)),)


def heads_within_channels(x: Tensor) -> tuple[Tensor, ...]:
    by_head = x.view(1, 2 * KEY + VALUE, HEADS, ROWS * COLS).transpose(1, 2)
    query, key, value = by_head.split([KEY, KEY, VALUE], dim=2)
    return (mean(value, scores(query, key)),)


def turned(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    result = value @ scores(query, key).softmax(dim=-1).transpose(-2, -1)
    return (result.reshape(1, HEADS * VALUE, COLS, ROWS).transpose(2, 3),)


def also_the_keys(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return mean(value, scores(query, key)), joined(torch.cat([key, key], 2)[:, :, :VALUE])


def attention_twice(x: Tensor) -> tuple[Tensor, ...]:
    query, key, value = split(x)
    return mean(value, scores(query, key)), mean(value, scores(query, key) * 2)


MASK = torch.zeros(ROWS * COLS, ROWS * COLS).masked_fill(
    torch.ones(ROWS * COLS, ROWS * COLS).triu(1).bool(), -9.0
)
UNKNOWN = {
    "a mask": of_scores(lambda s: s + MASK),
    "a number added": of_scores(lambda s: s + 1.0),
    "a scale a query": of_scores(lambda s: s * torch.linspace(0.5, 1, ROWS * COLS)),
    "a quotient": of_scores(lambda s: s / 3.0),
    "softmax over queries": other_axis,
    "softmax in a dtype": of_parts(
        lambda q, k, v: v @ scores(q, k).softmax(-1, dtype=torch.float32).transpose(2, 3)
    ),
    "keys scaled": of_parts(
        lambda q, k, v: v @ (q.transpose(2, 3) @ (k * SCALE)).softmax(-1).transpose(2, 3)
    ),
    "queries for keys": of_parts(lambda q, k, v: v @ scores(k, q).softmax(-1).transpose(2, 3)),
    "keys for queries": of_parts(lambda q, k, v: v @ scores(k, k).softmax(-1).transpose(2, 3)),
    "weights not transposed": of_parts(lambda q, k, v: v @ scores(q, k).softmax(-1)),
    "sigmoid": of_parts(lambda q, k, v: v @ scores(q, k).sigmoid().transpose(2, 3)),
    "values changed": of_parts(
        lambda q, k, v: (v * 2) @ scores(q, k).softmax(-1).transpose(2, 3)
    ),
    "two maps": two_maps,
    "values first in channels": values_first_in_channels,
    "heads within channels": heads_within_channels,
    "turned": turned,
    "also the keys": also_the_keys,
    "attention twice": attention_twice,
}  # fmt: skip


def recognised(plan: Plan) -> list[Attention | None]:
    """What is said of each island."""
    return [
        recognise_attention(node, plan.tensors[node.inputs[0]])
        for node in plan.nodes
        if isinstance(node, DenseIsland)
    ]


def assert_right(network: nn.Module, plan: Plan, kind: type) -> None:
    """A dense run computes what the network does, its islands as ``kind``."""
    spec = plan.tensors["image"]
    image = torch.rand(1, 3, spec.height, spec.width, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network.eval()(image)
    executor = Executor(plan, CompiledBackend(), ExecutorOptions(mode="exact"))
    islands = [step for step in executor.network.steps if isinstance(step, IslandStep)]
    assert islands
    assert all(type(step.operator) is kind for step in islands)
    (actual,) = executor.run(image).outputs
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", KNOWN)
def test_attention_is_recognised_and_right(function: Callable[..., tuple[Tensor, ...]]) -> None:
    scale, results = KNOWN[function]
    network = Network(function)
    plan = capture(network, *IMAGE[2:])
    (attention,) = recognised(plan)
    assert attention
    assert (attention.heads, attention.key, attention.value) == (HEADS, KEY, VALUE)
    assert attention.scale == scale
    assert set(attention.results) == results
    assert_right(network, plan, CompiledAttention)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_only_resembles_attention_is_left_to_pytorch(name: str) -> None:
    network = Network(UNKNOWN[name])
    plan = capture(network, *IMAGE[2:])
    found = recognised(plan)
    assert found
    assert not any(found)
    assert_right(network, plan, TorchIsland)


def one_head(compute: Callable[..., Tensor], dim: int = 2) -> Callable[..., tuple[Tensor, ...]]:
    """Of a map of twelve channels: one head, of four channels each."""

    def function(x: Tensor) -> tuple[Tensor, ...]:
        parts = x.view(1, 1, 12, x.shape[2] * x.shape[3]).split([4, 4, 4], dim=dim)
        return (compute(*parts).reshape(1, 4, *x.shape[2:]),)

    return function


COINCIDING = {
    "attention": (
        (3, 4),
        one_head(lambda q, k, v: v @ scores(q, k).softmax(-1).transpose(2, 3)),
        CompiledAttention,
    ),
    "attention of channels to each other": (
        (3, 4),
        one_head(lambda q, k, v: v @ scores(q, k).softmax(-1).transpose(2, 3), dim=3),
        TorchIsland,
    ),
    "transposed where nothing changes": (
        (3, 4),
        one_head(lambda q, k, v: v @ scores(q, k).softmax(-1).transpose(0, 1)),
        TorchIsland,
    ),
    "another function of values and weights": (
        (2, 2),
        one_head(
            lambda q, k, v: torch.atan2(v, (q.transpose(2, 3) @ k).softmax(-1).transpose(2, 3))
        ),
        TorchIsland,
    ),
}


@pytest.mark.parametrize("name", COINCIDING)
def test_sizes_that_are_alike_by_chance_mislead_nobody(name: str) -> None:
    (rows, cols), function, kind = COINCIDING[name]
    network = Network(function, read=12, given=4)
    assert_right(network, capture(network, 2 * rows, 2 * cols), kind)


def test_a_map_of_another_shape_or_function_is_no_attention() -> None:
    plan = capture(Network(as_in_yolo11), *IMAGE[2:])
    (node,) = (node for node in plan.nodes if isinstance(node, DenseIsland))
    source = plan.tensors[node.inputs[0]]
    assert recognise_attention(node, source)
    for other in (
        replace(source, channels=source.channels * 2),
        replace(source, height=source.height * 2),
        replace(source, height=source.width, width=source.height),
        replace(source, stride=0),
    ):
        assert recognise_attention(node, other) is None
    assert recognise_attention(replace(node, function=lambda *maps: maps), source) is None
    assert recognise_attention(replace(node, inputs=(*node.inputs, "image")), source) is None


def test_every_attention_of_a_network_with_several_is_recognised() -> None:
    """Those of networks with one are in ``test_capture.py``."""
    plan = capture(random_model(ModelName.parse("yolo11l"), 0).network, 64, 96)
    expected = Attention(4, 32, 64, 32**-0.5, ("attention", "values"))
    assert recognised(plan) == [expected, expected]


def test_a_map_that_the_operator_was_not_made_for_is_refused() -> None:
    plan = capture(Network(as_in_yolo11), *IMAGE[2:])
    (node,) = (node for node in plan.nodes if isinstance(node, DenseIsland))
    operator = CompiledBackend().island_operator(plan, node)
    for wrong in (torch.zeros(1, 7, 5, 20), torch.zeros(1, 5, 7, 20, dtype=torch.bfloat16)):
        with pytest.raises(ValueError, match="attention reads"):
            operator.dense(wrong)
