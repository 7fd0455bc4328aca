"""The proxy: the edge's bit-exact copy of the image the cloud holds, under every codec.

Each end keeps one object for a session. After every frame both hold the same image, whatever the
codec lost: the edge decodes what it sends.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from fluxshard_core.errors import InputError
from fluxshard_core.offload import limits, shard_codec
from fluxshard_core.offload.h264_codec import H264Decoder, H264Encoder, H264Options
from fluxshard_core.offload.messages import BlockShards
from fluxshard_core.reuse.criterion import composed

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

RAW: Final = "raw"
"""The only codec without loss."""

H264: Final = "h264"


class ProxyEncoder:
    """The edge's end. With ``h264`` all that is sent is one stream: when a frame that was encoded
    may not have reached the cloud, ``reset`` and send every block.

    Encoders of several codecs may take turns in a session: one that rested goes on from what it
    sent last, which the decoder still has.
    """

    def __init__(self, codec: str = RAW, quality: float | None = None) -> None:
        """Prepare ``codec``; ``quality`` is its own: JPEG's and WebP's 1 to 100, H.264's QP.

        :raises InputError: for an unknown codec, or a quality it does not have.
        """
        self.codec = codec
        self._stream: H264Encoder | None = None
        if codec == H264:
            self._options = H264Options() if quality is None else H264Options(int(quality))
        else:
            self._still = shard_codec.still_codec(codec, quality)

    def reset(self) -> None:
        """Start over: the next frame needs nothing from the ones before."""
        self._stream = None

    def encode(
        self, image: UInt8, moved_proxy: UInt8, critical: Bool, ease: Float32 | None = None
    ) -> tuple[BlockShards, UInt8]:
        """Return the shards that bring ``critical`` blocks of ``image``, and the new proxy.

        ``image`` and ``moved_proxy`` ``(H, W, 3)`` uint8 RGB are the network's input and the last
        proxy moved to it; ``critical`` ``(rows, cols)`` bool over 16-pixel blocks. ``ease``
        ``(rows, cols)`` float32 in [-1, 2] says how little care each needs, none given all of it;
        only ``h264`` makes use of it. The new proxy is a new array: ``moved_proxy`` outside the
        critical blocks.

        :raises InputError: if the three do not fit together.
        """
        _check_inputs(image, moved_proxy, critical)
        ids = np.flatnonzero(critical).astype(np.int32)
        if self.codec != H264:
            shards = shard_codec.encode_with(self._still, self.codec, image, ids)
            return shards, _pasted(moved_proxy, shards)
        if self._stream is None or self._stream.shape != image.shape:
            self._stream = H264Encoder(image.shape[0], image.shape[1], self._options)
        if ease is None:
            ease = np.zeros(critical.shape, dtype=np.float32)
        payload, picture = self._stream.encode(
            composed(moved_proxy, image, critical), self._options.offsets(critical, ease)
        )
        return BlockShards(ids, H264, payload), composed(moved_proxy, picture, critical)


class ProxyDecoder:
    """The cloud's end; it follows whatever codec the shards name."""

    def __init__(self) -> None:
        self._stream: H264Decoder | None = None

    def reset(self) -> None:
        """Forget the stream: the next H.264 frame must start one."""
        self._stream = None

    def decode(self, shards: BlockShards, moved_proxy: UInt8) -> UInt8:
        """Return the new proxy, bit for bit the one the encoder returned with these shards.

        :raises InputError: if the shards are damaged or need a frame that never came; then reset
            both ends. ``moved_proxy`` is left as it is.
        """
        if shards.codec != H264:
            return _pasted(moved_proxy, shards)
        critical = blocks_of(shards, moved_proxy)
        if self._stream is None or self._stream.shape != moved_proxy.shape:
            self._stream = H264Decoder(moved_proxy.shape[0], moved_proxy.shape[1])
        try:
            picture = self._stream.decode(shards.payload)
        except InputError:
            self._stream = None
            raise
        return composed(moved_proxy, picture, critical)


def blocks_of(shards: BlockShards, image: UInt8) -> Bool:
    """Return the blocks ``(rows, cols)`` that the shards bring."""
    shard_codec.check_range(image, shards.ids, shards.block_size)
    shape = image.shape[0] // shards.block_size, image.shape[1] // shards.block_size
    blocks = np.zeros(shape, dtype=np.bool_)
    blocks.reshape(-1)[shards.ids] = True
    return blocks


def _pasted(moved_proxy: UInt8, shards: BlockShards) -> UInt8:
    proxy = moved_proxy.copy()
    shard_codec.decode_into(proxy, shards)
    return proxy


def _check_inputs(image: UInt8, moved_proxy: UInt8, critical: Bool) -> None:
    side = limits.BLOCK_SIZE
    grid = image.shape[0] // side, image.shape[1] // side
    if image.shape != moved_proxy.shape or critical.shape != grid:
        raise InputError(
            f"image {image.shape}, proxy {moved_proxy.shape} and {critical.shape} critical blocks "
            f"of {side} px do not belong together"
        )
