"""Which piece of background work an endpoint needs most: its stalest and most salient blocks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fluxshard_core.reuse.criterion import block_difference
from fluxshard_core.reuse.freshness import FreshnessUpdater, staleness
from fluxshard_core.session.config import BackgroundConfig
from fluxshard_core.session.endpoint import Endpoint, Proposal

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

_MOST_LOST = 4
"""Pieces worth of blocks that may have lost their content at once; beyond that the scene is another
one, and the next frame is going to compute most of it."""


def next_piece(
    endpoint: Endpoint, image: UInt8, confidence: Float32, config: BackgroundConfig, blocks: int
) -> Proposal | None:
    """Return what brings about ``blocks`` blocks up to date with ``image``, None if all are.

    ``image`` ``(H, W, 3)`` uint8 is the frame whose motion the endpoint took in last,
    ``confidence`` ``(rows, cols)`` that of the surest object near each block. The first piece after
    motion also brings what has no source any more: nothing may be left that is not known.
    """
    view = endpoint.view()
    if view is None or np.count_nonzero(view.lost) > _MOST_LOST * blocks:
        return None
    wish = staleness(view.reference.age, block_difference(image, view.reference.image), confidence)
    wish[wish < config.least_staleness] = 0
    wish[view.lost] = 0
    updater = FreshnessUpdater(endpoint.keys, piece_blocks=blocks)
    piece = next(updater.pieces(wish), None)
    if piece is None and not view.lost.any():
        return None
    chosen = view.lost if piece is None else view.lost | next(iter(piece.values()))
    return endpoint.proposal(view, dict.fromkeys(endpoint.keys, chosen))
