"""The rectangle of input that a tile of each operator's output reads."""

from __future__ import annotations

from fluxshard_core.sparse.layout import Patch
from fluxshard_core.sparse.nodes import ConvTranspose, Node, Pair, Upsample
from fluxshard_core.sparse.plan import PlanError


def patch_of(node: Node, tile_shape: Pair) -> Patch:
    """Return what ``node`` reads for a tile of ``tile_shape`` outputs.

    :raises PlanError: for a node that reads only its own cell.
    """
    if isinstance(node, ConvTranspose):
        return _transposed(node, tile_shape)
    if isinstance(node, Upsample):
        height, width = ((size - 1) // node.factor + 1 for size in tile_shape)
        return Patch((height, width), divisor=(node.factor, node.factor))
    if node.window is None:
        raise PlanError(f"{node.describe()} reads no neighbourhood")
    return Patch.of(node.window, tile_shape)


def taps_of(node: ConvTranspose) -> Pair:
    """Input cells along each axis that reach one output cell of a transposed convolution."""
    return -(-node.kernel[0] // node.stride[0]), -(-node.kernel[1] // node.stride[1])


def quotients_of(node: ConvTranspose, tile_shape: Pair) -> Pair:
    """Cells ``(o + padding) // stride`` that a tile of outputs ``o`` may span along each axis."""
    (sy, sx), (height, width) = node.stride, tile_shape
    return (height + sy - 2) // sy + 1, (width + sx - 2) // sx + 1


def _transposed(node: ConvTranspose, tile_shape: Pair) -> Patch:
    taps, quotients = taps_of(node), quotients_of(node, tile_shape)
    (sy, sx), (top, left) = node.stride, node.padding
    return Patch(
        (quotients[0] + taps[0] - 1, quotients[1] + taps[1] - 1),
        offset=(top - sy * (taps[0] - 1), left - sx * (taps[1] - 1)),
        divisor=node.stride,
    )
