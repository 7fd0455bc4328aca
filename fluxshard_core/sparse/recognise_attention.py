"""Recognise the dense island that is one map's attention to itself, as in YOLO11."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import fx

from fluxshard_core.sparse.calls import aten, bind
from fluxshard_core.sparse.islands import IslandFunction
from fluxshard_core.sparse.nodes import DenseIsland, TensorSpec

Result = Literal["attention", "values"]


@dataclass(frozen=True)
class Attention:
    """Means of all cells' values by head, weighted by ``softmax(scale * query . key)``.

    The map's channels are, head by head, a query and a key of ``key`` channels each and a value of
    ``value`` channels. ``results``: what the island returns, in order: the attention, or the values
    as they are, both ``(1, heads * value, H, W)``.
    """

    heads: int
    key: int
    value: int
    scale: float
    results: tuple[Result, ...]


def recognise_attention(node: DenseIsland, source: TensorSpec) -> Attention | None:
    """Return what an island computes of ``source``, the only map it reads; ``None`` unless it is an
    attention and nothing else."""
    if not isinstance(node.function, IslandFunction) or len(node.inputs) != 1 or not source.stride:
        return None
    graph = node.function.graph
    splits = [call for call in graph.nodes if call.target is aten.split_with_sizes.default]
    parts = _Parts.of(splits[0], source) if len(splits) == 1 else None
    (outputs,) = graph.output_node().args
    return _attention(parts, outputs) if parts and isinstance(outputs, tuple) else None


@dataclass(frozen=True)
class _Parts:
    """What a map is split into, by head."""

    split: fx.Node
    heads: int
    key: int
    value: int
    joined: Sequence[int]
    """The shape of a result."""

    @staticmethod
    def of(split: fx.Node, source: TensorSpec) -> _Parts | None:
        arguments = bind(split)
        by_head, sizes = arguments["self"], list(arguments["split_sizes"])
        if by_head.target is not aten.reshape.default or not _is_axis(arguments["dim"], 2):
            return None
        whole, shape = by_head.args
        if whole.op != "placeholder" or len(shape) != 4 or len(sizes) != 3 or sizes[0] != sizes[1]:
            return None
        heads, key, value = shape[1], sizes[0], sizes[2]
        width = 2 * key + value
        if list(shape) != [1, heads, width, source.cells] or heads * width != source.channels:
            return None
        return _Parts(split, heads, key, value, [1, heads * value, source.height, source.width])

    def is_part(self, node: Any, index: int) -> bool:
        return _is_call(node, operator.getitem) and node.args == (self.split, index)


def _attention(parts: _Parts, outputs: tuple[Any, ...]) -> Attention | None:
    results: list[Result] = []
    scale = None
    for output in outputs:
        if not _is_call(output, aten.reshape.default) or list(output.args[1]) != parts.joined:
            return None
        result = output.args[0]
        if parts.is_part(result, 2):
            results.append("values")
        else:
            scale = _scale(parts, result)
            if scale is None:
                return None
            results.append("attention")
    if scale is None or len(set(results)) < len(results):
        return None
    return Attention(parts.heads, parts.key, parts.value, scale, tuple(results))


def _scale(parts: _Parts, result: Any) -> float | None:
    """What ``values @ softmax(scale * queries^T @ keys)^T`` scales by, if it is that."""
    if not _is_call(result, aten.matmul.default) or not parts.is_part(result.args[0], 2):
        return None
    weights = _transposed(result.args[1])
    if weights is None or weights.target is not aten.softmax.int:
        return None
    softmax = bind(weights)
    if not _is_axis(softmax["dim"], 3) or softmax["dtype"] is not None:
        return None
    scores, after = _unscaled(softmax["self"])
    if not _is_call(scores, aten.matmul.default) or not parts.is_part(scores.args[1], 1):
        return None
    queries, before = _unscaled(_transposed(scores.args[0]))
    return before * after if parts.is_part(queries, 0) else None


def _is_call(node: Any, target: Any) -> bool:
    return isinstance(node, fx.Node) and node.op == "call_function" and node.target is target


def _is_axis(dim: int, axis: int) -> bool:
    """Whether ``dim`` of four dimensions is this one."""
    return dim % 4 == axis


def _transposed(node: Any) -> fx.Node | None:
    """What was transposed to ``node`` in its last two dimensions."""
    if not _is_call(node, aten.transpose.int):
        return None
    source, *dims = node.args
    return source if {dim % 4 for dim in dims} == {2, 3} else None


def _unscaled(node: Any) -> tuple[Any, float]:
    """What was multiplied by a number, and the number."""
    if not _is_call(node, aten.mul.Tensor) or not isinstance(node.args[1], int | float):
        return node, 1.0
    return node.args[0], float(node.args[1])
