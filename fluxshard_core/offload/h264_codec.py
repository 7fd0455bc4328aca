"""The ``h264`` shard codec: a live stream whose every picture both ends hold bit for bit."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import av
import av.error
import numpy as np
import numpy.typing as npt
from av.video.codeccontext import VideoCodecContext

from fluxshard_core.errors import InputError
from fluxshard_core.offload import ycbcr
from fluxshard_core.offload.regions import with_offsets

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]
Int32 = npt.NDArray[np.int32]

_TIME_BASE: Final = Fraction(1, 25)  # rate control never looks at it
CHROMA_QP_OFFSET: Final = -6
"""Undoes the 6 that x264 adds to the quantiser of chroma of full size. Eyes do not miss them, but a
network sees what chroma loses up to 1.8 times as large in red and blue."""

_FORMAT: Final = "yuv444p"
_MAX_QP: Final = 51
_ALIGNMENT: Final = 128
_SLICES: Final = 2  # a quarter less time on two cores for 0.4 % more bytes


@dataclass(frozen=True)
class H264Options:
    """How x264 encodes: ``qp``, 1 to 51, is the quantiser of contested objects; lower is better.

    ``ease`` is added to it for blocks that need no care, in between a part, and some of it taken
    off for small objects (:func:`~fluxshard_core.reuse.contested.coding_ease`). ``rest`` is added
    for blocks that are not sent: their pictures are only what later ones are predicted from.

    Nothing depends on how hard a picture is to encode, because rate control would spend on the
    blocks that are sent what the others save: at the same quality of the sent blocks that took
    10 % more bytes. ``preset`` and ``subme`` (1 to 11, how well sub-pixel motion and modes are
    searched) are x264's own; the sixth ``subme`` and trellis quantisation save another 11 % over
    what veryfast does.
    """

    qp: int = 16
    ease: int = 12
    rest: int = 16
    preset: str = "veryfast"
    subme: int = 6

    def __post_init__(self) -> None:
        """Refuse a quantiser that libx264 would clip."""
        if not 1 <= self.qp <= _MAX_QP:
            raise InputError(f"H.264 QP is {self.qp}; use 1 to {_MAX_QP}")

    def offsets(self, critical: Bool, ease: Float32) -> Int32:
        """Return what is added to ``qp`` in each block, ``(rows, cols)`` int32.

        ``critical`` bool marks the blocks that are sent, ``ease`` in [-1, 2] how little care each
        needs, below 0 more than what ``qp`` is for.
        """
        eased = np.maximum(np.rint(self.ease * ease), 1 - self.qp)
        return np.where(critical, eased, self.rest).astype(np.int32)

    def x264(self) -> dict[str, str]:
        """Return the libx264 options: no delay, one reference, P pictures for ever.

        Threads cut a picture into slices, so their number is fixed: with one for each core the
        bytes would depend on the machine. A ``qcomp`` of 1 makes CRF a constant quantiser;
        x264 takes offsets neither with a quantiser called constant nor without adaptive
        quantisation, which is made so weak that it changes nothing.
        """
        params = {
            "bframes": "0",
            "ref": "1",
            "keyint": "infinite",
            "scenecut": "0",
            "weightp": "0",
            "qcomp": "1",
            "aq-mode": "1",
            "aq-strength": "0.0001",
            "subme": str(self.subme),
            "trellis": "1",
            "chroma-qp-offset": str(CHROMA_QP_OFFSET),
            "psy-rd": "1,0",  # texture counts more than error: by it animals are told apart
            "threads": str(_SLICES),
            "sliced-threads": "1",
        }
        return {
            "preset": self.preset,
            "tune": "zerolatency",
            "crf": str(self.qp),
            "x264-params": ":".join(f"{name}={value}" for name, value in params.items()),
        }


class H264Decoder:
    """Pictures of one stream from its packets, ``(H, W, 3)`` uint8 RGB."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width, 3
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.thread_type, self._decoder.thread_count = "SLICE", _SLICES
        self._decoder.options = {
            "flags": "+low_delay",
            "err_detect": "explode",
            # Held against the stream's header, in FFmpeg's aligned sizes, before allocating.
            "max_pixels": str((height + _ALIGNMENT) * (width + _ALIGNMENT)),
        }

    def decode(self, payload: UInt8) -> UInt8:
        """Return the one picture a payload brings.

        :raises InputError: if it is damaged, needs a picture this end never got, brings another
            number of them or one of another size. The stream cannot go on after that.
        """
        try:
            frames = self._decoder.decode(av.Packet(payload.tobytes())) if len(payload) else []
        except (av.error.FFmpegError, ValueError) as error:
            raise InputError(f"h264 shards cannot be decoded: {error}") from error
        if len(frames) != 1:
            raise InputError(f"h264 shards hold {len(frames)} pictures instead of one")
        frame = frames[0]
        if (frame.height, frame.width, 3) != self.shape or frame.format.name != _FORMAT:
            raise InputError(
                f"h264 picture is {frame.width}x{frame.height} {frame.format.name}, "
                f"not {self.shape[1]}x{self.shape[0]} {_FORMAT}"
            )
        if frame.is_corrupt:
            raise InputError("h264 shards are damaged: part of the picture is missing")
        return ycbcr.to_rgb(np.asarray(frame.to_ndarray(), dtype=np.uint8))


class H264Encoder:
    """A stream, starting with a key picture, and the decoder that shows what the cloud sees."""

    def __init__(self, height: int, width: int, options: H264Options | None = None) -> None:
        """Open x264 for ``height`` x ``width`` pictures, both even.

        :raises InputError: if libx264 refuses the size or the options.
        """
        options = options or H264Options()
        self.shape = height, width, 3
        self._count = 0
        self._encoder = _open_encoder(height, width, options)
        self._decoder = H264Decoder(height, width)

    def encode(self, image: UInt8, offsets: Int32) -> tuple[UInt8, UInt8]:
        """Return the payload ``(bytes,)`` of a ``(H, W, 3)`` uint8 RGB image, and the image that
        every decoder of the stream makes of it.

        ``offsets`` ``(rows, cols)`` int32 is added to the quantiser of each 16-pixel block.
        """
        picture = av.VideoFrame.from_ndarray(ycbcr.to_planes(image), format=_FORMAT)
        picture = with_offsets(picture, offsets, _TIME_BASE)
        picture.pts = self._count
        self._count += 1
        packets = self._encoder.encode(picture)
        payload = np.frombuffer(b"".join(map(bytes, packets)), dtype=np.uint8)
        return payload, self._decoder.decode(payload)


def _open_encoder(height: int, width: int, options: H264Options) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width, encoder.pix_fmt = height, width, _FORMAT
    encoder.time_base, encoder.framerate = _TIME_BASE, 1 / _TIME_BASE
    encoder.thread_count = _SLICES
    encoder.options = options.x264()
    try:
        encoder.open()
    except av.error.FFmpegError as error:
        raise InputError(f"libx264 refuses {width}x{height} with {options}: {error}") from error
    return encoder
