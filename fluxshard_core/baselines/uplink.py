"""How many bytes a frame takes on the wire, header and metadata included."""

from __future__ import annotations

import numpy as np

from fluxshard_core.models.letterbox import Letterbox
from fluxshard_core.offload import wire
from fluxshard_core.offload.messages import BlockShards, ShardFrame

_SESSION = "0" * 16
_HASH = "0" * 64


def wire_bytes(payload_bytes: int, letterbox: Letterbox) -> int:
    """Return the length of the message that carries ``payload_bytes`` of one frame's pixels."""
    payload = np.empty(payload_bytes, dtype=np.uint8)
    message = ShardFrame(
        session=_SESSION,
        epoch=0,
        number=0,
        stamp_ns=0,
        model_hash=_HASH,
        letterbox=letterbox,
        confidence=0.25,
        iou=0.7,
        shards=BlockShards(np.empty(0, dtype=np.int32), "raw", payload),
    )
    return len(wire.encode(message))
