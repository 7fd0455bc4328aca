"""Bring a traced graph to one form per idea before its operators are recognised."""

from __future__ import annotations

import operator

import torch
from torch import Tensor, fx

from fluxshard_core.sparse.calls import bind

aten = torch.ops.aten

_IDENTITIES = {
    aten.alias.default,
    aten.clone.default,
    aten.contiguous.default,
    aten.detach.default,
    aten.dropout.default,
    aten.expand.default,
    aten.reshape.default,
    aten.slice.Tensor,
    aten.view.default,
    aten._to_copy.default,
    aten._unsafe_view.default,
}

_SPLITS = {aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default}
_PLAIN = {
    operator.getitem,
    aten.add.Tensor,
    aten.cat.default,
    aten.chunk.default,
    aten.conv2d.default,
    aten.conv_transpose2d.input,
    aten.matmul.default,
    aten.max_pool2d.default,
    aten.mul.Tensor,
    aten.reshape.default,
    aten.silu.default,
    aten.softmax.int,
    aten.split.Tensor,
    aten.split_with_sizes.default,
    aten.transpose.int,
    aten.upsample_nearest2d.vec,
    aten.view.default,
}


def is_plain(graph: fx.Graph) -> bool:
    """Whether an exported ``graph`` changes no tensor in place and all its calls are recognised as
    they are, so that nothing is gained by decomposing it first."""
    return all(node.target in _PLAIN for node in graph.nodes if node.op == "call_function")


def normalise(graph: fx.Graph) -> None:
    """Rewrite ``graph``, traced in evaluation mode, in place.

    Calls that return their argument unchanged go, channel splits become slices, the inference
    form of batch norm becomes a call with one result, and nothing unused stays.
    """
    for node in list(graph.nodes):
        if _is_identity(node):
            node.replace_all_uses_with(node.args[0])
        elif node.target is operator.getitem:
            _untuple(graph, node)
    for node in reversed(graph.nodes):
        if node.op == "call_function" and not node.users:
            graph.erase_node(node)


def _is_identity(node: fx.Node) -> bool:
    if node.target not in _IDENTITIES or not isinstance(node.args[0], fx.Node):
        return False
    before, after = node.args[0].meta["val"], node.meta["val"]
    return bool(before.shape == after.shape and before.dtype == after.dtype)


def _untuple(graph: fx.Graph, part: fx.Node) -> None:
    """Replace one part of a split or of a batch norm by a call that returns it alone."""
    source, index = part.args
    assert isinstance(source, fx.Node)
    assert isinstance(index, int)
    replacement = None
    with graph.inserting_before(part):
        if _is_channel_split(source):
            widths = [int(value.shape[1]) for value in source.meta["val"]]
            start = sum(widths[:index])
            channels = (source.args[0], 1, start, start + widths[index])
            replacement = graph.call_function(aten.slice.Tensor, channels)
        elif source.target is aten._native_batch_norm_legit_no_training.default and index == 0:
            *parameters, momentum, eps = source.args
            evaluation = (*parameters, False, momentum, eps, False)
            replacement = graph.call_function(aten.batch_norm.default, evaluation)
    if replacement is not None:
        replacement.meta = part.meta | {
            "nn_module_stack": source.meta.get("nn_module_stack", {}),
            "val": part.meta["val"],
        }
        part.replace_all_uses_with(replacement)


def _is_channel_split(node: fx.Node) -> bool:
    if node.target not in _SPLITS:
        return False
    bound = bind(node)
    value = bound["self"].meta["val"]
    return isinstance(value, Tensor) and value.ndim == 4 and bound["dim"] in (1, -3)
