"""Quantiser offsets of single blocks, handed to x264 as regions of interest."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import av
import av.filter
import numpy as np
import numpy.typing as npt

from fluxshard_core.offload.limits import BLOCK_SIZE

Int32 = npt.NDArray[np.int32]
_QP_RANGE = 51  # FFmpeg's offsets are shares of it


def with_offsets(picture: av.VideoFrame, offsets: Int32, time_base: Fraction) -> av.VideoFrame:
    """Return ``picture`` with ``offsets`` ``(rows, cols)`` int32 to the quantiser of its blocks.

    PyAV cannot attach side data; FFmpeg's ``addroi`` filter does, one region each.
    """
    found = rectangles(offsets)
    if not found:
        return picture
    graph = av.filter.Graph()
    nodes = [
        graph.add_buffer(
            width=picture.width,
            height=picture.height,
            format=picture.format,
            time_base=time_base,
        )
    ]
    for top, bottom, left, right, offset in found:
        place = [BLOCK_SIZE * side for side in (left, top, right - left, bottom - top)]
        nodes.append(graph.add("addroi", ":".join(map(str, (*place, f"{offset}/{_QP_RANGE}")))))
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    graph.vpush(picture)
    return graph.vpull()


def rectangles(offsets: Int32) -> list[tuple[int, int, int, int, int]]:
    """Cover the blocks that are not 0 in ``(rows, cols)`` by rectangles of one value each.

    Each is ``top, bottom, left, right, value``, bottom and right excluded. Runs of a row that the
    next row repeats grow downwards.
    """
    done = []
    growing: dict[tuple[int, int, int], int] = {}
    for row, values in enumerate([*offsets, np.zeros(offsets.shape[1], np.int32)]):
        ends = np.flatnonzero(np.diff(values, prepend=0, append=0)).tolist()
        runs = [(left, right, int(values[left])) for left, right in pairwise(ends) if values[left]]
        for run in growing.keys() - set(runs):
            left, right, value = run
            done.append((growing.pop(run), row, left, right, value))
        for run in runs:
            growing.setdefault(run, row)
    return sorted(done)
