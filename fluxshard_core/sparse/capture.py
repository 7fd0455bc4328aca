"""Capture any exportable network as a Plan: tiled where operators are known, dense elsewhere."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from fluxshard_core.errors import FluxShardError, InputError
from fluxshard_core.sparse import islands
from fluxshard_core.sparse.calls import Call, Match, Operand, bind
from fluxshard_core.sparse.nodes import DenseIsland, Node, TensorSpec
from fluxshard_core.sparse.normalise import is_plain, normalise
from fluxshard_core.sparse.plan import Plan
from fluxshard_core.sparse.recognise import recognise

INPUT = "image"

_log = logging.getLogger(__name__)


class CaptureError(FluxShardError):
    """A model that cannot be turned into a plan."""


class UnknownOperatorWarning(UserWarning):
    """Part of a model runs whole on every frame because an operator has no tiled form."""


def capture(model: nn.Module, height: int, width: int, channels: int = 3) -> Plan:
    """Trace ``model`` in evaluation mode for one ``(1, channels, height, width)`` float32 input.

    Outputs are the model's tensors, flattened in order. BatchNorm is folded into the convolution
    before it and activations are fused into theirs. Operators without a tiled form become
    :class:`DenseIsland` nodes, with an :class:`UnknownOperatorWarning` unless they need the whole
    map by nature (attention, global pooling).

    :raises InputError: for a size that is not positive.
    :raises CaptureError: if ``torch.export`` refuses the model, it draws random numbers, or an
        output is no tensor computed from the input.
    """
    if min(height, width, channels) <= 0:
        raise InputError(f"input is {channels}x{height}x{width}; all must be positive")
    traced = _trace(model, torch.zeros(1, channels, height, width))
    normalise(traced.graph)
    return _Builder(traced).plan()


@dataclass(frozen=True)
class _Traced:
    """A functional ATen graph: its input, its constants and the modules that own them."""

    graph: fx.Graph
    image: fx.Node
    constants: dict[fx.Node, Tensor]
    owners: dict[fx.Node, str]


def _trace(model: nn.Module, example: Tensor) -> _Traced:
    training = model.training
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # about PyTorch's own internals
            program = torch.export.export(model.eval(), (example,))
            if not is_plain(program.graph):  # takes longer than the export itself
                program = program.run_decompositions({})
    except Exception as error:  # whatever the traced code raises
        summary = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise CaptureError(f"{type(model).__name__} cannot be exported: {summary}") from error
    finally:
        model.train(training)
    signature = program.graph_signature
    if len(signature.user_inputs) != 1 or signature.buffers_to_mutate:
        raise CaptureError(
            f"{type(model).__name__} has {len(signature.user_inputs)} inputs and changes "
            f"{len(signature.buffers_to_mutate)} buffers; a plan has one input and no state"
        )
    values: dict[str, Any] = {**program.state_dict, **program.constants}
    origin: dict[str, str] = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    constants = {
        node: values[origin[node.name]].detach() for node in placeholders if node.name in origin
    }
    owners = {node: origin[node.name].rpartition(".")[0] for node in constants}
    (image,) = (node for node in placeholders if node.name in signature.user_inputs)
    return _Traced(program.graph, image, constants, owners)


class _Builder:
    """One pass over the traced graph: fold constants, recognise, leave the rest to islands."""

    def __init__(self, traced: _Traced) -> None:
        self._graph = traced.graph
        self._owners = traced.owners
        self._constants = dict(traced.constants)
        self._operands: dict[fx.Node, Operand] = {}
        self._nodes: dict[fx.Node, Node] = {}
        # Which computed values each kept call reads, fused producers skipped.
        self._reads: dict[fx.Node, list[fx.Node]] = {}
        self._names: set[str] = set()
        _, _, self._height, self._width = traced.image.meta["val"].shape
        self._define(traced.image, INPUT, 1)

    def plan(self) -> Plan:
        """Build the plan."""
        for node in self._graph.nodes:
            if node.op == "get_attr":
                raise CaptureError(f"the model's control flow ({node.name}) has no plan")
            if node.op == "call_function":
                self._visit(node)
        foreign = self._reads.keys() - self._nodes.keys()
        outputs = self._outputs()
        nodes: list[Node] = []
        for unit in islands.group(self._reads, foreign):
            island = unit[0] in foreign
            nodes.append(self._island(unit) if island else self._nodes[unit[0]])
        specs = [_spec(operand) for operand in self._operands.values()]
        return Plan.assemble(specs, nodes, [INPUT], [self._operands[n].name for n in outputs])

    def _visit(self, node: fx.Node) -> None:
        sources = [source for source in node.all_input_nodes if source not in self._constants]
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise CaptureError(f"{node.name} draws random numbers, which no two runs share")
        if not sources:
            self._fold(node)
            return
        self._reads[node] = sources
        if match := self._match(node):
            tiled, name = match.node, match.node.output
            if match.absorbed:
                (producer,) = sources
                name = self._nodes.pop(producer).output
                self._reads[node] = self._reads.pop(producer)
                del self._operands[producer]
                tiled = replace(tiled, outputs=(name,))
            self._nodes[node] = tiled
            self._define(node, name, match.stride)
        elif isinstance(value := node.meta.get("val"), Tensor):
            self._define(node, self._name(node), self._foreign_stride(value, sources))

    def _fold(self, node: fx.Node) -> None:
        """Evaluate a call that does not depend on the input."""
        args, kwargs = _map_nodes((node.args, node.kwargs), self._constants.__getitem__)
        assert callable(node.target)
        self._constants[node] = node.target(*args, **kwargs)

    def _match(self, node: fx.Node) -> Match | None:
        value = node.meta.get("val")
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return None
        first = node.args[0]
        sole = isinstance(first, fx.Node) and len(first.users) == 1
        arguments = _map_nodes(bind(node), self._argument)
        assert callable(node.target)
        return recognise(
            Call(
                target=node.target,
                arguments=arguments,
                output=self._name(node),
                shape=tuple(value.shape),
                producer=self._nodes.get(node.all_input_nodes[0]) if sole else None,
            )
        )

    def _argument(self, node: fx.Node) -> Operand | Tensor | None:
        return self._constants.get(node, self._operands.get(node))

    def _island(self, members: Sequence[fx.Node]) -> DenseIsland:
        inside = set(members)
        inputs = list(
            dict.fromkeys(s for node in members for s in self._reads[node] if s not in inside)
        )
        leaving = [node for node in members if not inside.issuperset(node.users)]
        function = islands.IslandFunction(members, inputs, leaving, self._constants)
        why, natural = islands.reason(members)
        where = self._operands[leaving[0]].name
        if natural:
            _log.info("%s runs whole: %s", where, why)
        else:
            message = f"{where} runs whole on every frame: {why}"
            warnings.warn(message, UnknownOperatorWarning, stacklevel=4)
        return DenseIsland(
            inputs=tuple(self._operands[node].name for node in inputs),
            outputs=tuple(self._operands[node].name for node in leaving),
            function=function,
            reason=why,
            multiply_accumulates=function.multiply_accumulates(inputs),
        )

    def _outputs(self) -> list[fx.Node]:
        values = self._graph.output_node().args[0]
        assert isinstance(values, tuple | list)
        for value in values:
            if value not in self._operands:
                raise CaptureError(f"output {value} is not a tensor computed from the input")
        return list(values)

    def _define(self, node: fx.Node, name: str, stride: int) -> None:
        self._names.add(name)
        self._operands[node] = Operand(name, tuple(node.meta["val"].shape), stride)

    def _foreign_stride(self, value: Tensor, sources: Sequence[fx.Node]) -> int:
        """The level at which a foreign result may be cached, 0 if none.

        It is the level of a map read, if padded or cropped by a few cells at most, or else the one
        whose cells, all of one size, cover the frame. The choice decides what can be reused, never
        what is right: an island's result is compared with the cache after every run.
        """
        if value.ndim != 4 or value.shape[0] != 1 or not value.is_floating_point():
            return 0
        height, width = value.shape[2:]
        for operand in (self._operands[source] for source in sources if source in self._operands):
            if operand.stride and max(
                abs(operand.shape[2] - height), abs(operand.shape[3] - width)
            ) <= min(_MOST_PADDING, height // 2, width // 2):
                return operand.stride
        stride = -(-self._height // height)
        fits = (-(-self._height // stride), -(-self._width // stride)) == (height, width)
        return stride if fits else 0

    def _name(self, node: fx.Node) -> str:
        """The module that made the call, numbered where it made several."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path, kind = stack[-1] if stack else ("", "")
        # Some modules call others' forward directly: the owner of a weight is surer.
        owner = next((self._owners[n] for n in node.all_input_nodes if self._owners.get(n)), "")
        leaf = str(kind).rsplit(".", 1)[-1] in _LEAF_MODULES and path
        own = islands.operator_name(node)
        name = owner or (path if leaf else ".".join(part for part in (path, own) if part))
        count, free = 1, name
        while free in self._names:
            count += 1
            free = f"{name}:{count}"
        return free


def _map_nodes(arguments: Any, values: Callable[[fx.Node], Any]) -> Any:
    return fx.node.map_arg(arguments, values)


_MOST_PADDING = 8  # cells: twice the padding of any common kernel
_LEAF_MODULES = {"MaxPool2d", "AvgPool2d", "Upsample"}


def _spec(operand: Operand) -> TensorSpec:
    shape = operand.shape
    if operand.stride:
        return TensorSpec(operand.name, shape[1], shape[2], shape[3], operand.stride)
    channels = shape[1] if len(shape) > 1 else 1
    rest = torch.Size(shape).numel() // max(1, channels)
    return TensorSpec(operand.name, channels, 1, rest, 0)
