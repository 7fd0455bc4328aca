"""Which ATen operators have a tiled form, and the plan node each becomes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from fluxshard_core.sparse.calls import Call, Match, Recogniser, as_map, as_pair, aten
from fluxshard_core.sparse.nodes import (
    Activation,
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Pointwise,
    PointwiseKind,
    Pool,
    Slice,
    Upsample,
)
from fluxshard_core.sparse.recognise_linear import (
    affine_constant,
    batch_norm,
    conv,
    conv_transpose,
    zero_pad,
)


def recognise(call: Call) -> Match | None:
    """Return the call's tiled form, or ``None`` if there is none."""
    if len(call.shape) != 4 or call.shape[0] != 1:
        return None
    if kind := _ACTIVATIONS.get(call.target):
        return _activation(call, Activation(kind))
    recogniser = _RECOGNISERS.get(call.target)
    return recogniser(call) if recogniser else None


def _max_pool(call: Call) -> Match | None:
    source = as_map(call["self"])
    kernel, dilation = as_pair(call["kernel_size"]), as_pair(call["dilation"])
    stride, before = as_pair(call["stride"] or kernel), as_pair(call["padding"])
    if source is None or stride[0] != stride[1]:
        return None
    # ceil_mode lets the last window hang over the edge: that is padding, too.
    bottom, right = (
        max(
            before[axis],
            (call.shape[2 + axis] - 1) * stride[axis]
            + (kernel[axis] - 1) * dilation[axis]
            + 1
            - source.shape[2 + axis]
            - before[axis],
        )
        for axis in (0, 1)
    )
    node = Pool(
        (source.name,),
        (call.output,),
        "max",
        kernel,
        stride,
        (*before, bottom, right),
        dilation,
    )
    return Match(node, source.stride * stride[0])


def _avg_pool(call: Call) -> Match | None:
    source, kernel, padding = as_map(call["self"]), as_pair(call["kernel_size"]), call["padding"]
    stride = as_pair(call["stride"] or kernel)
    rows, cols = as_pair(padding)
    varying = call["ceil_mode"] or ((rows or cols) and not call["count_include_pad"])
    if source is None or stride[0] != stride[1] or varying or call["divisor_override"]:
        return None
    node = Pool((source.name,), (call.output,), "avg", kernel, stride, (rows, cols, rows, cols))
    return Match(node, source.stride * stride[0])


def _upsample(call: Call) -> Match | None:
    source = as_map(call.arguments.get("input", call.arguments.get("self")))
    if source is None:
        return None
    factor, left = divmod(call.shape[2], source.shape[2])
    if left or call.shape[3] != factor * source.shape[3] or source.stride % factor:
        return None
    return Match(Upsample((source.name,), (call.output,), factor), source.stride // factor)


def _concat(call: Call) -> Match | None:
    sources = [as_map(value) for value in call["tensors"]]
    found = [source for source in sources if source is not None]
    if len(found) < len(sources) or call["dim"] not in (1, -3):
        return None
    if len({source.stride for source in found}) > 1:
        return None
    return Match(Concat(tuple(s.name for s in found), (call.output,)), found[0].stride)


def _slice(call: Call) -> Match | None:
    source = as_map(call["self"])
    if source is None or call["dim"] not in (1, -3) or call["step"] != 1:
        return None
    start, stop, _ = slice(call["start"], call["end"]).indices(source.shape[1])
    return Match(Slice((source.name,), (call.output,), start, stop), source.stride)


def _binary(kind: Literal["add", "mul"]) -> Recogniser:
    def recogniser(call: Call) -> Match | None:
        left, right = as_map(call["self"]), as_map(call["other"])
        if left is None or right is None:
            return affine_constant(call)
        if left.shape != right.shape or left.stride != right.stride:
            return None
        if call.arguments.get("alpha", 1) != 1:
            return None
        return Match(Binary((left.name, right.name), (call.output,), kind), left.stride)

    return recogniser


def _activation(call: Call, activation: Activation) -> Match | None:
    source, before = as_map(call["self"]), call.producer
    if source is None:
        return None
    if isinstance(before, Conv | ConvTranspose) and before.activation is None:
        fused = replace(before, outputs=(call.output,), activation=activation)
        return Match(fused, source.stride, absorbed=True)
    return Match(Pointwise((source.name,), (call.output,), activation), source.stride)


def _leaky_relu(call: Call) -> Match | None:
    return _activation(call, Activation("leaky_relu", float(call["negative_slope"])))


def _gelu(call: Call) -> Match | None:
    return _activation(call, Activation("gelu")) if call["approximate"] == "none" else None


def _hardtanh(call: Call) -> Match | None:
    limits = float(call["min_val"]), float(call["max_val"])
    return _activation(call, Activation("relu6")) if limits == (0.0, 6.0) else None


_ACTIVATIONS: dict[Any, PointwiseKind] = {
    aten.relu.default: "relu",
    aten.relu6.default: "relu6",
    aten.silu.default: "silu",
    aten.sigmoid.default: "sigmoid",
    aten.tanh.default: "tanh",
    aten.hardswish.default: "hardswish",
    aten.hardsigmoid.default: "hardsigmoid",
}

_RECOGNISERS: dict[Any, Recogniser] = {
    aten.conv2d.default: conv,
    aten.conv2d.padding: conv,
    aten.conv_transpose2d.input: conv_transpose,
    aten.max_pool2d.default: _max_pool,
    aten.avg_pool2d.default: _avg_pool,
    aten.upsample_nearest2d.vec: _upsample,
    aten.upsample_nearest2d.default: _upsample,
    aten.cat.default: _concat,
    aten.slice.Tensor: _slice,
    aten.add.Tensor: _binary("add"),
    aten.mul.Tensor: _binary("mul"),
    aten.sub.Tensor: affine_constant,
    aten.div.Tensor: affine_constant,
    aten.batch_norm.default: batch_norm,
    aten.pad.default: zero_pad,
    aten.constant_pad_nd.default: zero_pad,
    aten.leaky_relu.default: _leaky_relu,
    aten.gelu.default: _gelu,
    aten.hardtanh.default: _hardtanh,
}
