"""Group the operators without a tiled form into as few dense islands as the graph allows."""

from __future__ import annotations

import copy
import heapq
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

# Operators that only rename or regroup elements: not why a region has no tiled form.
_LAYOUT_ONLY = {
    "view", "reshape", "_unsafe_view", "transpose", "permute", "t", "clone", "getitem", "flatten",
    "split", "split_with_sizes", "unsqueeze", "squeeze", "expand", "slice", "select", "_to_copy",
    "chunk", "cat", "mul", "add", "sub", "div",
}  # fmt: skip
_ATTENTION = {"matmul", "bmm", "softmax", "_softmax", "scaled_dot_product_attention"}
_VIEWS = {torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default}
_GLOBAL = {"mean", "adaptive_avg_pool2d", "_adaptive_avg_pool2d", "amax", "adaptive_max_pool2d"}


def group(
    reads: Mapping[fx.Node, Sequence[fx.Node]], foreign: AbstractSet[fx.Node]
) -> list[list[fx.Node]]:
    """Partition the calls into units to run one after another, in a valid order.

    ``reads`` maps each call, in traced order, to the values it reads. A unit is one call that has
    a tiled form, or an island: a region of ``foreign`` ones, grown along data edges for as long
    as nothing outside it both reads it and feeds it.
    """
    unit = {node: index for index, node in enumerate(reads)}
    for node in reads:
        for source in reads[node]:
            if node in foreign and source in foreign and unit[node] != unit[source]:
                merged = {n: unit[source] if u == unit[node] else u for n, u in unit.items()}
                if _schedule(reads, merged) is not None:
                    unit = merged
    schedule = _schedule(reads, unit)
    assert schedule is not None, "a traced graph has no cycles"
    members: dict[int, list[fx.Node]] = {index: [] for index in schedule}
    for node in reads:
        members[unit[node]].append(node)
    return list(members.values())


def _schedule(
    reads: Mapping[fx.Node, Sequence[fx.Node]], unit: Mapping[fx.Node, int]
) -> list[int] | None:
    """Units in execution order (Kahn, 1962), or ``None`` if some wait for each other."""
    readers: dict[int, set[int]] = {index: set() for index in unit.values()}
    waiting = dict.fromkeys(readers, 0)
    for node, sources in reads.items():
        after = unit[node]
        for before in {unit[source] for source in sources if source in unit}:
            if before != after and after not in readers[before]:
                readers[before].add(after)
                waiting[after] += 1
    ready = [index for index, count in waiting.items() if count == 0]
    heapq.heapify(ready)  # units are numbered as traced: keep that order where it is free
    schedule: list[int] = []
    while ready:
        schedule.append(heapq.heappop(ready))
        for reader in readers[schedule[-1]]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, reader)
    return schedule if len(schedule) == len(waiting) else None


def reason(members: Iterable[fx.Node]) -> tuple[str, bool]:
    """Why these operators run dense, and whether that is how they are, not a gap of ours."""
    names = list(dict.fromkeys(operator_name(node) for node in members))
    telling = [name for name in names if name not in _LAYOUT_ONLY] or names
    if _ATTENTION & set(telling):
        return f"attention, every cell reads every other: {', '.join(telling)}", True
    if _GLOBAL & set(telling):
        return f"reads the whole map: {', '.join(telling)}", True
    return f"no tiled form of {', '.join(telling)}", False


def operator_name(node: fx.Node) -> str:
    """``softmax`` for ``aten.softmax.int``."""
    if isinstance(node.target, torch._ops.OpOverload):
        return str(node.target.overloadpacket.__name__)
    return str(getattr(node.target, "__name__", node.target))


class IslandFunction:
    """The members of an island as one callable, for any dtype and device of its inputs."""

    def __init__(
        self,
        members: Sequence[fx.Node],
        inputs: Sequence[fx.Node],
        outputs: Sequence[fx.Node],
        constants: Mapping[fx.Node, Tensor],
    ) -> None:
        graph, root = fx.Graph(), nn.Module()
        local = {node: graph.placeholder(node.name) for node in inputs}
        for node in members:
            for source in node.all_input_nodes:
                if source not in local:
                    root.register_buffer(source.name, constants[source].detach().clone())
                    local[source] = graph.get_attr(source.name)
            local[node] = graph.node_copy(node, local.__getitem__)
            if node.target in _VIEWS:  # inputs are laid out otherwise than when traced
                local[node].target = torch.ops.aten.reshape.default
        graph.output(tuple(local[node] for node in outputs))
        self._original = fx.GraphModule(root, graph)
        self._converted: dict[tuple[torch.device, torch.dtype], nn.Module] = {}

    @property
    def graph(self) -> fx.Graph:
        """What it computes; for reading alone."""
        return self._original.graph

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the island; floating outputs have the dtype of the first input."""
        kind = inputs[0].device, inputs[0].dtype
        if kind not in self._converted:
            self._converted[kind] = copy.deepcopy(self._original).to(*kind)
        outputs: tuple[Tensor, ...] = self._converted[kind](*inputs)
        return tuple(x.to(kind[1]) if x.is_floating_point() else x for x in outputs)

    def multiply_accumulates(self, inputs: Sequence[fx.Node]) -> int:
        """Count those of the island's products and convolutions for inputs shaped as traced."""
        examples = [torch.zeros(node.meta["val"].shape) for node in inputs]
        with FlopCounterMode(display=False) as counter, torch.inference_mode():
            self(*examples)
        return int(counter.get_total_flops()) // 2
