"""From a plan's node to the operators of a program."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.compiled.drafts import (
    OperatorDraft,
    Rule,
    SegmentDraft,
    Strip,
    Strips,
    WindowDraft,
    take_channels,
)
from fluxshard_core.sparse.compiled.weights import pack_depthwise, pack_panels, pad_channels
from fluxshard_core.sparse.nodes import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Node,
    Pair,
    Pointwise,
    Pool,
    Slice,
    Upsample,
)
from fluxshard_core.sparse.plan import PlanError
from fluxshard_kernels.cpu.library import Library
from fluxshard_kernels.cpu.records import Kind


class Emitter:
    """Turns nodes into operators for one compiled library; packs each node's weights once."""

    def __init__(self, library: Library) -> None:
        self._width, self._panel = library.width, library.panel
        self._packed: dict[tuple[int, object], torch.Tensor] = {}
        self._nodes: list[Node] = []  # kept, so that an id stays one node's

    def emit(
        self, node: Node, sources: Sequence[Strips], out: Strip, level: Level
    ) -> Iterator[OperatorDraft]:
        """Yield what computes ``node`` over cells of ``level`` from ``sources`` into ``out``.

        A neighbourhood is read from one strip that is a map.

        :raises PlanError: for a node that has no compiled form.
        """
        if isinstance(node, Conv):
            yield from self._conv(node, sources[0], out, level)
        elif isinstance(node, ConvTranspose):
            yield from self._transposed(node, sources[0][0], out, level)
        elif isinstance(node, Pool):
            yield _pool(node, sources[0][0], out, level)
        elif isinstance(node, Upsample):
            divisor = node.factor, node.factor
            yield from _copy(sources[0], out, level, divisor)
        elif isinstance(node, Concat):
            yield from _copy([strip for strips in sources for strip in strips], out, level)
        elif isinstance(node, Slice):
            yield from _copy(take_channels(sources[0], node.start, node.stop), out, level)
        elif isinstance(node, Binary):
            yield from _binary(node, sources[0], sources[1], out, level)
        elif isinstance(node, Pointwise):
            for strip, part in _side_by_side(sources[0], out):
                draft = OperatorDraft(Kind.ACTIVATE, (_own(strip, level),), part, part.rule(level))
                yield replace(draft, activation=node.activation)
        else:
            raise PlanError(f"the compiled backend has no operator for {node.describe()}")

    def _conv(
        self, node: Conv, source: Strips, out: Strip, level: Level
    ) -> Iterator[OperatorDraft]:
        if node.window and node.groups == node.weight.shape[0] and node.weight.shape[1] == 1:
            (strip,) = source
            if strip.channels == out.channels:
                yield self._depthwise(node, strip, out, level)
                return
        group_in = node.weight.shape[1]
        group_out = out.channels // node.groups
        for group in range(node.groups):
            outputs = slice(group * group_out, (group + 1) * group_out)
            strips = take_channels(source, group * group_in, (group + 1) * group_in)
            if node.window:
                segments = tuple(_taps(node, strips[0], level))
            else:
                segments = tuple(_own(strip, level) for strip in strips)
            matrix = node.weight[outputs].permute(2, 3, 1, 0).reshape(-1, group_out)
            part = out.part(outputs.start, outputs.stop)
            yield OperatorDraft(
                Kind.CONVOLVE,
                segments,
                part,
                part.rule(level),
                self._panels(node, group, matrix),
                self._bias(node, node.bias, outputs),
                node.activation,
            )

    def _depthwise(self, node: Conv, strip: Strip, out: Strip, level: Level) -> OperatorDraft:
        def pack() -> torch.Tensor:
            return pack_depthwise(node.weight, self._width)

        return OperatorDraft(
            Kind.DEPTHWISE,
            tuple(_taps(node, strip, level, single=True)),
            out,
            out.rule(level),
            self._once(node, "weights", pack),
            self._bias(node, node.bias, slice(0, out.channels)),
            node.activation,
        )

    def _transposed(
        self, node: ConvTranspose, source: Strip, out: Strip, level: Level
    ) -> Iterator[OperatorDraft]:
        """One convolution a phase: output ``o = s q + phase - p`` reads ``W[phase + s m] x[q - m]``
        for every ``m`` (the derivation is in ``ops/conv_transpose.py``)."""
        group_in, group_out = source.channels // node.groups, out.channels // node.groups
        sy, sx = node.stride
        for group in range(node.groups):
            outputs = slice(group * group_out, (group + 1) * group_out)
            inputs = slice(group * group_in, (group + 1) * group_in)
            part = out.part(outputs.start, outputs.stop)
            bias = self._bias(node, node.bias, outputs)
            for phase in ((y, x) for y in range(sy) for x in range(sx)):
                weight = node.weight[inputs, :, phase[0] :: sy, phase[1] :: sx]
                used = [(y, x) for y in range(weight.shape[2]) for x in range(weight.shape[3])]
                strip = source.part(inputs.start, inputs.stop)
                rule = _phase_rule(node, source, phase, level)
                matrix = weight.permute(2, 3, 0, 1).reshape(-1, group_out)
                where = Rule.POSITION if out.source else Rule.INDEX
                cells = replace(part.rule(level), period=rule.period, phase=rule.phase, what=where)
                yield OperatorDraft(
                    Kind.CONVOLVE,
                    tuple(_segment(strip, rule, (-y, -x)) for y, x in used),
                    part,
                    cells,
                    self._panels(node, (group, phase), matrix),
                    bias,
                    node.activation,
                )

    def _panels(self, node: Node, key: object, matrix: torch.Tensor) -> torch.Tensor:
        return self._once(node, key, lambda: pack_panels(matrix, self._width, self._panel))

    def _bias(self, node: Node, bias: torch.Tensor | None, outputs: slice) -> torch.Tensor | None:
        if bias is None:
            return None
        key = "bias", outputs.start, outputs.stop
        return self._once(node, key, lambda: pad_channels(bias[outputs], self._width))

    def _once(self, node: Node, key: object, pack: Callable[[], torch.Tensor]) -> torch.Tensor:
        found = self._packed.get((id(node), key))
        if found is None:
            self._nodes.append(node)
            found = pack().detach().float().contiguous()
            self._packed[id(node), key] = found
        return found


def _segment(strip: Strip, rule: Rule, cell: Pair, cells: int = 1) -> SegmentDraft:
    """The strip's channels at so many neighbouring cells, from ``cell`` ``(dy, dx)`` on; of a
    tabled one at that cell alone."""
    if strip.tabled:
        return SegmentDraft(strip.buffer, rule.moved(cell), strip.offset, strip.channels)
    offset = strip.offset + (cell[0] * strip.pitch + cell[1]) * strip.stride
    return SegmentDraft(strip.buffer, rule, offset, cells * strip.channels)


def _own(strip: Strip, level: Level) -> SegmentDraft:
    return SegmentDraft(strip.buffer, strip.rule(level), strip.offset, strip.channels)


def _taps(
    node: Conv, strip: Strip, level: Level, *, single: bool = False
) -> Iterator[SegmentDraft]:
    """What a convolution reads; taps of one row are one segment where they lie side by side."""
    (height, width), (down, right) = node.kernel, node.dilation
    top, left = node.padding[:2]
    rule = Rule(level, strip.source, node.stride, (-top, -left), tabled=strip.tabled)
    together = strip.channels == strip.stride and right == 1 and not strip.tabled
    for row in range(height):
        if together and not single:
            yield _segment(strip, rule, (row * down, 0), width)
        else:
            for col in range(width):
                yield _segment(strip, rule, (row * down, col * right))


def _phase_rule(node: ConvTranspose, source: Strip, phase: Pair, level: Level) -> Rule:
    (sy, sx), (top, left) = node.stride, node.padding
    return Rule(
        level,
        source.source,
        shift=node.padding,
        divisor=node.stride,
        period=node.stride,
        phase=((top - phase[0]) % sy, (left - phase[1]) % sx),
        tabled=source.tabled,
    )


def _pool(node: Pool, strip: Strip, out: Strip, level: Level) -> OperatorDraft:
    assert strip.source is not None
    top, left = node.padding[:2]
    rule = Rule(level, strip.source, node.stride, (-top, -left))  # places, which have neighbours
    window = WindowDraft(
        node.kernel,
        node.dilation,
        strip.source.shape,
        strip.pitch,
        replace(rule, what=Rule.ROW),
        replace(rule, what=Rule.COLUMN),
        Rule(level, strip.source, what=Rule.TABLE, tabled=strip.tabled),
    )
    kind = Kind.MAXIMUM if node.kind == "max" else Kind.AVERAGE
    segment = SegmentDraft(strip.buffer, rule, strip.offset, strip.channels)
    return OperatorDraft(kind, (segment,), out, out.rule(level), window=window)


def _copy(
    strips: Sequence[Strip], out: Strip, level: Level, divisor: Pair = (1, 1)
) -> Iterator[OperatorDraft]:
    for strip, part in _side_by_side(strips, out):
        rule = replace(strip.rule(level), divisor=divisor)
        segment = SegmentDraft(strip.buffer, rule, strip.offset, strip.channels)
        yield OperatorDraft(Kind.COPY, (segment,), part, part.rule(level))


def _binary(
    node: Binary, left: Strips, right: Strips, out: Strip, level: Level
) -> Iterator[OperatorDraft]:
    """One operator for every range of channels in which neither input changes its strip."""
    kind = Kind.ADD if node.operator == "add" else Kind.MULTIPLY
    start = 0
    while start < out.channels:
        firsts = [take_channels(strips, start, out.channels)[0] for strips in (left, right)]
        count = min(strip.channels for strip in firsts)
        segments = tuple(_own(strip.part(0, count), level) for strip in firsts)
        part = out.part(start, start + count)
        yield OperatorDraft(kind, segments, part, part.rule(level))
        start += count


def _side_by_side(strips: Sequence[Strip], out: Strip) -> Iterator[tuple[Strip, Strip]]:
    """Pair each strip with the channels of ``out`` it fills."""
    start = 0
    for strip in strips:
        yield strip, out.part(start, start + strip.channels)
        start += strip.channels
