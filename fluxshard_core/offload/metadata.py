"""The typed metadata of each kind of frame, as msgpack on the wire."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from fluxshard_core.offload.sections import Section
from fluxshard_core.offload.wire_errors import MetadataError

T = TypeVar("T", bound=msgspec.Struct)


class ShardFrameMetadata(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A ``ShardFrame`` without its identity in the header and its arrays in the sections.

    Values alone, without their names: every frame carries them. ``letterbox`` are the fields of
    a ``Letterbox`` in order.
    """

    epoch: int
    stamp_ns: int
    model_hash: str
    letterbox: tuple[int, int, int, int, float, int, int]
    confidence: float
    iou: float
    codec: str
    block_size: int
    strides: tuple[int, ...]
    sections: tuple[Section, ...]
    motion_block_size: int = 0
    background: bool = False


class ResultMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An ``InferenceResult`` without its identity in the header and its arrays."""

    epoch: int
    stamp_ns: int
    stage_ms: dict[str, float]
    error: str
    checksum: int
    dense: bool
    compute_ratio: float
    sections: tuple[Section, ...]


class RefusalMetadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why a ``Refusal`` was sent."""

    reason: str


def encode_metadata(metadata: msgspec.Struct) -> bytes:
    """Return the msgpack bytes of a metadata struct."""
    return msgspec.msgpack.encode(metadata)


def decode_metadata(data: memoryview, kind: type[T]) -> T:
    """Read metadata of one kind; raise ``MetadataError`` for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MetadataError("metadata", expected=kind.__name__, actual=error) from error
