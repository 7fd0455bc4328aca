"""Recognise what is linear in its map: convolutions, batch norm, constants per channel, padding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fluxshard_core.sparse.calls import Call, Match, Operand, as_map, as_pair, aten
from fluxshard_core.sparse.nodes import Conv, ConvTranspose, Padding, Pair


def conv(call: Call) -> Match | None:
    source, weight, bias = as_map(call["input"]), call["weight"], call["bias"]
    if source is None or not isinstance(weight, Tensor) or not _constant_or_none(bias):
        return None
    stride, dilation = as_pair(call["stride"]), as_pair(call["dilation"])
    if stride[0] != stride[1]:
        return None
    node = Conv(
        inputs=(source.name,),
        outputs=(call.output,),
        weight=weight,
        bias=bias,
        stride=stride,
        padding=_conv_padding(call["padding"], weight, dilation),
        dilation=dilation,
        groups=call["groups"],
    )
    return Match(node, source.stride * stride[0])


def _conv_padding(padding: Any, weight: Tensor, dilation: Pair) -> Padding:
    if padding == "valid":
        return (0, 0, 0, 0)
    if padding == "same":
        rows, cols = (dilation[axis] * (int(weight.shape[2 + axis]) - 1) for axis in (0, 1))
        return (rows // 2, cols // 2, rows - rows // 2, cols - cols // 2)
    rows, cols = as_pair(padding)
    return (rows, cols, rows, cols)


def conv_transpose(call: Call) -> Match | None:
    source, weight, bias = as_map(call["input"]), call["weight"], call["bias"]
    if source is None or not isinstance(weight, Tensor) or not _constant_or_none(bias):
        return None
    stride = as_pair(call["stride"])
    if stride[0] != stride[1] or source.stride % stride[0] or as_pair(call["dilation"]) != (1, 1):
        return None
    node = ConvTranspose(
        inputs=(source.name,),
        outputs=(call.output,),
        weight=weight,
        bias=bias,
        stride=stride,
        padding=as_pair(call["padding"]),
        output_padding=as_pair(call["output_padding"]),
        groups=call["groups"],
    )
    return Match(node, source.stride // stride[0])


def _constant_or_none(value: Any) -> bool:
    return value is None or isinstance(value, Tensor)


def affine_constant(call: Call) -> Match | None:
    """A sum, difference, product or quotient with one constant per channel."""
    source, other = as_map(call["self"]), call["other"]
    if source is None and call.target in (aten.add.Tensor, aten.mul.Tensor):
        source, other = as_map(call["other"]), call["self"]
    if source is None or isinstance(other, Operand) or call.arguments.get("alpha", 1) != 1:
        return None
    if call.arguments.get("rounding_mode") is not None:
        return None
    if isinstance(other, int | float):
        other = torch.tensor(float(other))
    channels = source.shape[1]
    if not isinstance(other, Tensor) or not other.is_floating_point() or source.shape != call.shape:
        return None
    if other.shape not in {(), (1, 1, 1), (channels, 1, 1), (1, 1, 1, 1), (1, channels, 1, 1)}:
        return None
    constant = other.reshape(-1).expand(channels).to(torch.float32)
    one, zero = torch.ones(channels), torch.zeros(channels)
    if call.target is aten.add.Tensor:
        scale, shift = one, constant
    elif call.target is aten.sub.Tensor:
        scale, shift = one, -constant
    elif call.target is aten.mul.Tensor:
        scale, shift = constant, zero
    else:
        scale, shift = 1.0 / constant, zero
    return Match(_channelwise(source, call.output, scale, shift), source.stride)


def batch_norm(call: Call) -> Match | None:
    source = as_map(call["input"])
    parameters = [call[key] for key in ("weight", "bias", "running_mean", "running_var")]
    mean, variance = parameters[2:]
    if source is None or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return None
    weight, bias = (
        given.double() if isinstance(given, Tensor) else torch.full_like(mean, blank).double()
        for given, blank in zip(parameters, (1.0, 0.0), strict=False)
    )
    scale = weight / torch.sqrt(variance.double() + call["eps"])
    shift = bias - mean.double() * scale
    before = call.producer
    if not isinstance(before, Conv) or before.activation is not None:
        return Match(_channelwise(source, call.output, scale, shift), source.stride)
    inner = 0.0 if before.bias is None else before.bias.double()
    folded = replace(
        before,
        outputs=(call.output,),
        weight=(before.weight.double() * scale[:, None, None, None]).to(before.weight.dtype),
        bias=(inner * scale + shift).to(before.weight.dtype),
    )
    return Match(folded, source.stride, absorbed=True)


def zero_pad(call: Call) -> Match | None:
    """Zero padding alone: a channelwise identity that reads outside the frame."""
    source = as_map(call["self"])
    pads = call["pad"]
    zero = call.arguments.get("mode", "constant") == "constant" and not call["value"]
    if source is None or len(pads) > 4 or min(pads) < 0 or not zero:
        return None
    left, right, top, bottom = [*pads, 0, 0][:4]
    channels = source.shape[1]
    node = _channelwise(source, call.output, torch.ones(channels), None)
    return Match(replace(node, padding=(top, left, bottom, right)), source.stride)


def _channelwise(source: Operand, output: str, scale: Tensor, shift: Tensor | None) -> Conv:
    """``scale * x + shift`` per channel as a 1x1 convolution of one channel per group."""
    weight = scale.to(torch.float32).reshape(-1, 1, 1, 1).contiguous()
    bias = None if shift is None else shift.to(torch.float32).contiguous()
    return Conv((source.name,), (output,), weight, bias, groups=source.shape[1])
