"""Plan: a network as a flat, printable list of operators over named feature maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fluxshard_core.errors import InputError
from fluxshard_core.sparse.branches import find_branches
from fluxshard_core.sparse.nodes import (
    Activation,
    Binary,
    CacheNeed,
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
    Window,
)

__all__ = [
    "Activation",
    "Binary",
    "CacheNeed",
    "Concat",
    "Conv",
    "ConvTranspose",
    "DenseIsland",
    "Node",
    "Plan",
    "PlanError",
    "Pointwise",
    "Pool",
    "Slice",
    "TensorSpec",
    "Upsample",
    "Window",
]


class PlanError(InputError):
    """A plan that contradicts itself."""


@dataclass(frozen=True, eq=False)
class Plan:
    """A network for one input size: ``nodes`` in execution order over ``tensors``.

    Build it with :meth:`assemble`, which checks it and decides what is cached.
    """

    tensors: Mapping[str, TensorSpec]
    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @classmethod
    def assemble(
        cls,
        tensors: Sequence[TensorSpec],
        nodes: Sequence[Node],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> Plan:
        """Check the graph and fill in what is cached and why.

        :raises PlanError: a tensor is read before it is written, written twice or not described.
        """
        specs = {spec.name: spec for spec in tensors}
        written = set(inputs)
        for node in nodes:
            for name in node.inputs:
                if name not in written:
                    raise PlanError(f"{node.describe()} reads {name!r} before it is written")
            for name in node.outputs:
                if name in written:
                    raise PlanError(f"{node.describe()} writes {name!r} a second time")
                written.add(name)
        if missing := sorted((written | set(outputs)) - specs.keys()):
            raise PlanError(f"tensors without a description: {', '.join(missing)}")
        if unwritten := sorted(set(outputs) - written):
            raise PlanError(f"outputs that no operator writes: {', '.join(unwritten)}")
        branches = find_branches(specs, nodes, outputs)
        specs = {name: replace(spec, branch=branches.get(name, 0)) for name, spec in specs.items()}
        needs = _cache_needs(specs, nodes, inputs, outputs)
        marked = {
            name: replace(spec, cache=needs[name][0], cache_reason=needs[name][1])
            if name in needs
            else spec
            for name, spec in specs.items()
            if name in written
        }
        return cls(marked, tuple(nodes), tuple(inputs), tuple(outputs))

    @property
    def strides(self) -> tuple[int, ...]:
        """The levels (cumulative strides) of the plan, finest first."""
        return tuple(sorted({spec.stride for spec in self.tensors.values() if spec.stride}))

    @property
    def level_keys(self) -> tuple[int, ...]:
        """What sets of critical blocks are named by: the strides, then the branches."""
        branches = {spec.branch for spec in self.tensors.values() if spec.branch}
        return (*self.strides, *sorted(branches))

    def multiply_accumulates(self, node: Node) -> int:
        """Multiply-accumulates of ``node`` in a dense run."""
        if isinstance(node, DenseIsland):
            return node.multiply_accumulates
        return node.cell_cost * self.tensors[node.output].cells

    @property
    def total_multiply_accumulates(self) -> int:
        """Multiply-accumulates of one dense run."""
        return sum(self.multiply_accumulates(node) for node in self.nodes)

    def receptive_fields(self) -> dict[str, int | None]:
        """Pixels of input that reach one cell, per tensor (rows; ``None`` is the whole frame)."""
        fields: dict[str, int | None] = dict.fromkeys(self.inputs, 1)
        for node in self.nodes:
            reach = [fields[name] for name in node.inputs]
            finite = [value for value in reach if value is not None]
            whole = isinstance(node, DenseIsland) or len(finite) < len(reach)
            for name in node.outputs:
                fields[name] = None if whole else max(finite) + self._growth(node)
        return fields

    def _growth(self, node: Node) -> int:
        stride = self.tensors[node.inputs[0]].stride
        if isinstance(node, ConvTranspose):
            return (-(-node.kernel[0] // node.stride[0]) - 1) * stride
        return (node.window.extent[0] - 1) * stride if node.window else 0

    def __str__(self) -> str:
        fields = self.receptive_fields()
        total = max(1, self.total_multiply_accumulates)
        rows: list[tuple[str, ...]] = [
            ("tensor", "shape", "level", "field", "MMAC", "cache", "operator")
        ]
        for name in self.inputs:
            rows.append(self._row(name, "input", 0, fields[name]))
        for node in self.nodes:
            cost = self.multiply_accumulates(node)
            source = f"{node.describe()} <- {', '.join(node.inputs)}"
            rows += [
                self._row(name, source, 0 if index else cost, fields[name])
                for index, name in enumerate(node.outputs)
            ]
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        lines = ["  ".join([*map(str.ljust, row[:6], widths), row[6]]) for row in rows]
        return "\n".join(
            [*lines, f"outputs {', '.join(self.outputs)}; {total / 1e6:.1f} M multiply-accumulates"]
        )

    def _row(self, name: str, source: str, cost: int, field: int | None) -> tuple[str, ...]:
        spec = self.tensors[name]
        shape = f"{spec.channels}x{spec.height}x{spec.width}"
        reach = "all" if field is None else str(field)
        cache = f"{spec.cache.value}: {spec.cache_reason}" if spec.cache_reason else "-"
        return name, shape, str(spec.stride), reach, f"{cost / 1e6:.1f}", cache, source


_Needs = dict[str, tuple[CacheNeed, str]]


def _cache_needs(
    specs: Mapping[str, TensorSpec],
    nodes: Sequence[Node],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> _Needs:
    """Which tensors are read by something other than a pointwise chain over the same tiles."""
    always: dict[str, str] = dict.fromkeys(inputs, "input")
    merged: dict[str, str] = {}
    # Two tensors share a group when their active sets are equal whatever the content.
    group: dict[str, str] = {name: name for name in inputs}
    for node in nodes:
        if reason := _neighbourhood(node):
            for name in node.inputs:
                always.setdefault(name, reason)
        groups = {group[name] for name in node.inputs}
        if len(groups) > 1 and not reason:
            for name in node.inputs:
                merged.setdefault(name, f"merged by {node.describe()}")
        # Where a branch leaves the trunk, cells may have moved otherwise on its side.
        parts = any(specs[name].branch != specs[node.outputs[0]].branch for name in node.inputs)
        for name in node.outputs:
            alone = reason or parts or len(groups) > 1
            group[name] = name if alone else groups.copy().pop()
            if isinstance(node, DenseIsland) and specs[name].stride:
                always.setdefault(name, "written by a dense island")
        for name in node.inputs:
            if specs[name].branch != specs[node.outputs[0]].branch:
                always.setdefault(name, "read by a branch")
    for name in outputs:
        if specs[name].stride:
            always.setdefault(name, "output")
    needs: _Needs = {name: (CacheNeed.FILTERED, reason) for name, reason in merged.items()}
    needs.update({name: (CacheNeed.ALWAYS, reason) for name, reason in always.items()})
    return {name: need for name, need in needs.items() if specs[name].stride}


def _neighbourhood(node: Node) -> str:
    """Why ``node`` reads more than its own cell, or an empty string."""
    if isinstance(node, DenseIsland):
        return "read whole by a dense island"
    if node.window or isinstance(node, ConvTranspose | Upsample):
        return f"read by {node.describe()}"
    return ""
