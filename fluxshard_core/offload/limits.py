"""The largest message either end accepts; everything read from a peer is held against these."""

from __future__ import annotations

from typing import Final

BLOCK_SIZE: Final = 16
"""Side of a shard block in pixels of the network input."""

CODECS: Final = frozenset({"raw", "jpeg", "webp", "h264"})
"""Names of the shard codecs a message may carry; ``proxy`` writes and reads each."""

MAX_BLOCKS: Final = 512 * 512
"""Most blocks of a frame or of a motion field: 16 px ones of the largest input."""

MAX_LEVELS: Final = 16
MAX_STRIDE: Final = 192
"""Largest name of a level: branches are named by numbers above the strides."""

MAX_SHARD_BYTES: Final = 48 * 1024 * 1024
"""Largest payload of one batch of shards: a whole raw RGB input of 4096x4096."""

MAX_BLOCK_SIZE: Final = 256
MAX_INSTANCES: Final = 4096
MAX_KEYPOINTS: Final = 1024
MAX_MASK_BYTES: Final = 32 * 1024 * 1024
MAX_STAGES: Final = 64
MAX_COMPUTE_RATIO: Final = 16.0
MAX_NAME_BYTES: Final = 128
MAX_ERROR_BYTES: Final = 2048
MAX_UINT32: Final = 2**32 - 1
MAX_INT64: Final = 2**63 - 1
