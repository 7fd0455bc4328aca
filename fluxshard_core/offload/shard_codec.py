"""Blocks of an image to a payload and back, by the codec a message names."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.offload.limits import BLOCK_SIZE
from fluxshard_core.offload.messages import BlockShards
from fluxshard_core.offload.raw_codec import CHANNELS, RawCodec
from fluxshard_core.offload.still_codec import JpegCodec, WebpCodec


class ShardCodec(Protocol):
    """One way to write blocks of a ``(H, W, 3)`` uint8 image; ids are checked by the caller."""

    def encode(
        self, image: npt.NDArray[np.uint8], ids: npt.NDArray[np.int32], block_size: int
    ) -> npt.NDArray[np.uint8]:
        """Return the ``(bytes,)`` uint8 payload of the blocks, which the caller owns."""
        ...

    def decode_into(
        self,
        image: npt.NDArray[np.uint8],
        ids: npt.NDArray[np.int32],
        payload: npt.NDArray[np.uint8],
        block_size: int,
    ) -> None:
        """Overwrite the blocks in the contiguous image; raise ``InputError`` on a bad payload."""
        ...


CODECS: Final[dict[str, ShardCodec]] = {
    "raw": RawCodec(),
    "jpeg": JpegCodec(),
    "webp": WebpCodec(),
}
"""The codecs whose shards need nothing but themselves, at their usual quality."""


def all_blocks(height: int, width: int, block_size: int = BLOCK_SIZE) -> npt.NDArray[np.int32]:
    """Return the ids of every block of a ``height x width`` input: a dense frame."""
    return np.arange((height // block_size) * (width // block_size), dtype=np.int32)


def encode(
    image: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.int32],
    codec: str = "raw",
    block_size: int = BLOCK_SIZE,
) -> BlockShards:
    """Write blocks ``ids`` ``(N,)`` int32, ascending, of a ``(H, W, 3)`` uint8 RGB input.

    The payload is a copy: the image may be reused at once.

    :raises InputError: for an unknown codec, another dtype or shape, or ids outside the image.
    """
    return encode_with(_named(codec), codec, image, ids, block_size)


def encode_with(
    writer: ShardCodec,
    codec: str,
    image: npt.NDArray[np.uint8],
    ids: npt.NDArray[np.int32],
    block_size: int = BLOCK_SIZE,
) -> BlockShards:
    """The same with a ``writer`` made by :func:`still_codec` for ``codec``."""
    _check_image(image, block_size)
    check_range(image, ids, block_size)
    return BlockShards(ids, codec, writer.encode(image, ids, block_size), block_size)


def still_codec(name: str, quality: float | None = None) -> ShardCodec:
    """Return the codec ``name`` at ``quality``, or at its usual one.

    :raises InputError: for an unknown name or a quality the codec does not have.
    """
    if quality is None:
        return _named(name)
    if name == "jpeg":
        return JpegCodec(int(quality))
    if name == "webp":
        return WebpCodec(int(quality))
    raise InputError(f"shard codec {name!r} has no quality to set")


def decode_into(image: npt.NDArray[np.uint8], shards: BlockShards) -> None:
    """Overwrite the shards' blocks in a writeable, C-contiguous ``(H, W, 3)`` uint8 image.

    :raises InputError: if the image does not fit or the payload is not what the codec wrote.
    """
    reader = _named(shards.codec)
    _check_image(image, shards.block_size)
    if not (image.flags.c_contiguous and image.flags.writeable):
        raise InputError("shards can only be written into a C-contiguous, writeable image")
    check_range(image, shards.ids, shards.block_size)
    reader.decode_into(image, shards.ids, shards.payload, shards.block_size)


def _named(codec: str) -> ShardCodec:
    try:
        return CODECS[codec]
    except KeyError:
        known = ", ".join(sorted(CODECS))
        raise InputError(f"unknown shard codec {codec!r}; this build knows: {known}") from None


def _check_image(image: npt.NDArray[np.uint8], block_size: int) -> None:
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != CHANNELS or not image.size:
        raise InputError(
            f"expected a non-empty uint8 image (height, width, 3), "
            f"got {image.dtype} of shape {image.shape}"
        )
    if block_size < 1 or image.shape[0] % block_size or image.shape[1] % block_size:
        raise InputError(
            f"an image of {image.shape[1]}x{image.shape[0]} does not divide into "
            f"blocks of {block_size} px"
        )


def check_range(image: npt.NDArray[np.uint8], ids: npt.NDArray[np.int32], block_size: int) -> None:
    """Raise ``InputError`` unless ``ids`` ``(N,)`` are blocks of the ``(H, W, 3)`` image."""
    count = (image.shape[0] // block_size) * (image.shape[1] // block_size)
    if len(ids) and not (ids.min() >= 0 and ids.max() < count):
        raise InputError(f"shard ids must be within [0, {count - 1}] for this image")
