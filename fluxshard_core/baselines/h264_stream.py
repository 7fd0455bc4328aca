"""An H.264 stream as a live camera would send it, encoded and decoded picture by picture."""

from __future__ import annotations

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import UInt8
from fluxshard_core.motion.encoder import TIME_BASE
from fluxshard_core.offload import ycbcr
from fluxshard_core.offload.h264_codec import CHROMA_QP_OFFSET

_FULL, _HALVED = "yuv444p", "yuv420p"
_OPTIONS = {
    "bframes": "0",
    "ref": "1",
    "keyint": "infinite",
    "scenecut": "0",
    "weightp": "0",
    "subme": "6",
    "trellis": "1",
    "log-level": "none",
}


class H264Stream:
    """libx264 without B-frames or look-ahead, and the decoder at the other end.

    It searches as hard as the shard codec does and codes chroma as well, but has x264's own rate
    control and adaptive quantisation. ``shape`` is ``(height, width)``, both even. With ``halved``
    chroma has half the size, by swscale, and x264's own quantiser: what cameras stream.
    """

    def __init__(self, height: int, width: int, crf: int, *, halved: bool = False) -> None:
        self.shape = height, width
        self._halved = halved
        self._count = 0
        self._encoder = _encoder(height, width, crf, _HALVED if halved else _FULL)
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_type = "SLICE"
        self._decoder.options = {"flags": "+low_delay"}

    def round_trip(self, image: UInt8) -> tuple[UInt8, int]:
        """Return ``(H, W, 3)`` uint8 RGB as received, and the bytes its packets took."""
        picture = self._picture(np.ascontiguousarray(image))
        picture.pts = self._count
        self._count += 1
        packets = self._encoder.encode(picture)
        shown = [frame for packet in packets for frame in self._decoder.decode(packet)]
        if len(shown) != 1:
            raise InputError(f"the H.264 stream showed {len(shown)} pictures for one sent")
        return self._received(shown[0]), sum(packet.size for packet in packets)

    def _picture(self, image: UInt8) -> av.VideoFrame:
        if self._halved:
            return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=_HALVED)
        return av.VideoFrame.from_ndarray(ycbcr.to_planes(image), format=_FULL)

    def _received(self, picture: av.VideoFrame) -> UInt8:
        if self._halved:
            return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
        return ycbcr.to_rgb(np.asarray(picture.to_ndarray(), dtype=np.uint8))


def _encoder(height: int, width: int, crf: int, pixels: str) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, pixels
    encoder.time_base, encoder.framerate = TIME_BASE, 1 / TIME_BASE
    own = {} if pixels == _HALVED else {"chroma-qp-offset": str(CHROMA_QP_OFFSET)}
    encoder.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "crf": str(crf),
        "x264-params": ":".join(f"{name}={value}" for name, value in (_OPTIONS | own).items()),
    }
    try:
        encoder.open()
    except av.FFmpegError as error:
        raise InputError(f"libx264 refuses {width}x{height} pictures: {error}") from error
    return encoder
