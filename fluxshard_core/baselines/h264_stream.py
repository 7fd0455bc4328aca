"""An H.264 stream as a live camera would send it, encoded and decoded picture by picture."""

from __future__ import annotations

import av
import numpy as np
from av.video.codeccontext import VideoCodecContext

from fluxshard_core.errors import InputError
from fluxshard_core.models.detections import UInt8
from fluxshard_core.motion.encoder import TIME_BASE, EncoderOptions


class H264Stream:
    """libx264 without B-frames or look-ahead, and the decoder at the other end.

    ``shape`` is ``(height, width)``, both even.
    """

    def __init__(self, height: int, width: int, crf: int) -> None:
        self.shape = height, width
        self._count = 0
        options = EncoderOptions(preset="veryfast", crf=crf, partitions="all")
        self._encoder = _encoder(height, width, options)
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_type = "SLICE"
        self._decoder.options = {"flags": "+low_delay"}

    def round_trip(self, image: UInt8) -> tuple[UInt8, int]:
        """Return ``(H, W, 3)`` uint8 RGB as received, and the bytes its packets took."""
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        picture = picture.reformat(format="yuv420p")
        picture.pts = self._count
        self._count += 1
        packets = self._encoder.encode(picture)
        shown = [frame for packet in packets for frame in self._decoder.decode(packet)]
        if len(shown) != 1:
            raise InputError(f"the H.264 stream showed {len(shown)} pictures for one sent")
        received = np.asarray(shown[0].to_ndarray(format="rgb24"), dtype=np.uint8)
        return received, sum(packet.size for packet in packets)


def _encoder(height: int, width: int, options: EncoderOptions) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, "yuv420p"
    encoder.time_base, encoder.framerate = TIME_BASE, 1 / TIME_BASE
    encoder.options = options.x264()
    try:
        encoder.open()
    except av.FFmpegError as error:
        raise InputError(f"libx264 refuses {width}x{height} pictures: {error}") from error
    return encoder
