"""Motion from libx264: encode each raw frame against the one before and read the vectors back."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from av.video.codeccontext import VideoCodecContext

from fluxshard_core.errors import InputError
from fluxshard_core.motion.side_data import frame_field
from fluxshard_core.motion.source import MotionFrame, UInt8, check_image, luma

TIME_BASE = Fraction(1, 25)  # rate control is CRF, so the rate only has to be legal
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower")
SEARCHES = ("dia", "hex", "umh", "esa", "tesa")
PARTITIONS = ("none", "p8x8", "all")


@dataclass(frozen=True)
class EncoderOptions:
    """How x264 searches. The defaults find 16x16 vectors fast; see the fields for other needs.

    ``preset``, ``crf`` (0 to 51), ``me`` (dia, hex, umh, esa), ``me_range`` (pixels around the
    predicted vector; above 16 only umh and esa use it, and motion beyond about 40 px a frame
    needs them) and ``subme`` (1 to 11, ``None`` for the preset's) are x264's own. ``partitions``
    is which splits it tries (none, p8x8, all); ``none`` keeps one vector per 16x16 block, which
    costs less and predicts better than merging sub-blocks afterwards. ``threads`` are
    as many slices, across which no vector is predicted: a fixed number gives the same vectors on
    every machine, 0 (one for each core) does not.
    """

    preset: str = "superfast"
    crf: float = 23.0
    me: str = "hex"
    me_range: int = 16
    subme: int | None = None
    partitions: str = "none"
    threads: int = 2

    def __post_init__(self) -> None:
        """Check what libx264 itself would let pass or explain badly."""
        for name, value, allowed in (
            ("preset", self.preset, PRESETS),
            ("me", self.me, SEARCHES),
            ("partitions", self.partitions, PARTITIONS),
        ):
            if value not in allowed:
                raise InputError(f"x264 {name} is {value!r}; use one of {', '.join(allowed)}")
        for name, number, low, high in (
            ("crf", self.crf, 0, 51),
            ("me_range", self.me_range, 4, 1024),
            ("subme", 1 if self.subme is None else self.subme, 1, 11),
            ("threads", self.threads, 0, 64),
        ):
            if not low <= number <= high:
                raise InputError(f"x264 {name} is {number}; use {low} to {high}")

    def x264(self) -> dict[str, str]:
        """Return the libx264 options: no delay, no B-frames, one reference, I frames on cuts."""
        params = {
            "bframes": "0",
            "ref": "1",
            "keyint": "infinite",
            "min-keyint": "1",  # or x264 hardly believes a cut soon after a key frame
            "scenecut": "40",
            "weightp": "0",
            "partitions": self.partitions,
            "me": self.me,
            "merange": str(self.me_range),
            # How numbers are coded decides no vector below subme 6, and the bits go nowhere.
            "cabac": "0",
            "log-level": "none",
        }
        if self.subme is not None:
            params["subme"] = str(self.subme)
        return {
            "preset": self.preset,
            "tune": "zerolatency",
            "crf": str(self.crf),
            "x264-params": ":".join(f"{name}={value}" for name, value in params.items()),
        }


class EncoderMotion:
    """Vectors x264 chooses for raw frames, read back from a decoder beside it.

    By default only luma is encoded and ``image`` is the raw input, untouched: the encoder's own
    reference is slightly lossy, which costs vector quality nothing that matters, and the decoder
    skips reconstruction. With ``lossy`` the colour frame is encoded and ``image`` is what a
    receiver of the stream would decode. Intra blocks are invalid; on a scene cut (x264
    starts a new I frame, or few blocks match) so is the whole field.
    """

    def __init__(self, *, lossy: bool = False, options: EncoderOptions | None = None) -> None:
        """Prepare; the codec opens on the first frame, whose size it takes."""
        self._lossy = lossy
        self._options = options or EncoderOptions()
        self._codec: _Codec | None = None

    def next(self, image: UInt8, /) -> MotionFrame:
        """Encode ``image`` and return it (decoded, when lossy) with its motion.

        :raises InputError: if it is not an RGB image or libx264 refuses the size or the options.
        """
        image = check_image(image)
        shape = image.shape[:2]
        if self._codec is None or self._codec.shape != shape:
            self._codec = _Codec(shape, self._options, lossy=self._lossy)
        return self._codec.next(image)

    def reset(self) -> None:
        """Close the codec: the next frame starts a new stream."""
        self._codec = None


class _Codec:
    """An x264 encoder and the decoder that follows it, for one image size."""

    def __init__(self, shape: tuple[int, int], options: EncoderOptions, *, lossy: bool) -> None:
        self.shape = shape
        self._lossy = lossy
        self._count = 0
        self._encoder = _open_encoder(shape, options, lossy=lossy)
        self._decoder = _open_decoder(options.threads, lossy=lossy)

    def next(self, image: UInt8) -> MotionFrame:
        decoded = self._round_trip(_to_video(image, lossy=self._lossy))
        height, width = self.shape
        field = frame_field(decoded)
        if self._lossy:
            planes = decoded.to_ndarray()
            image = np.asarray(cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420), dtype=np.uint8)
            image = np.ascontiguousarray(image[:height, :width])
        return MotionFrame(image, field)

    def _round_trip(self, frame: av.VideoFrame) -> av.VideoFrame:
        frame.pts = self._count
        self._count += 1
        packets = self._encoder.encode(frame)
        frames = [decoded for packet in packets for decoded in self._decoder.decode(packet)]
        if len(frames) != 1:
            raise InputError(
                f"x264 gave {len(packets)} packets and {len(frames)} pictures for one frame; "
                "its options must not add delay (no look-ahead, no frame threads)"
            )
        return frames[0]


def _open_encoder(
    shape: tuple[int, int], options: EncoderOptions, *, lossy: bool
) -> VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = (_even(side) for side in shape) if lossy else shape
    encoder.pix_fmt = "yuv420p" if lossy else "gray"
    encoder.time_base, encoder.framerate = TIME_BASE, 1 / TIME_BASE
    encoder.thread_count = options.threads
    encoder.options = options.x264()
    try:
        encoder.open()
    except av.FFmpegError as error:
        raise InputError(
            f"libx264 refuses {shape[1]}x{shape[0]} frames with {options}: {error}"
        ) from error
    return encoder


def _open_decoder(threads: int, *, lossy: bool) -> VideoCodecContext:
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_type, decoder.thread_count = "SLICE", threads
    flags = {"flags2": "+export_mvs", "flags": "+low_delay"}
    if not lossy:  # vectors are syntax: they come out the same without reconstructing a pixel
        flags |= {"skip_loop_filter": "all", "skip_idct": "all"}
    decoder.options = flags
    return decoder


def _to_video(image: UInt8, *, lossy: bool) -> av.VideoFrame:
    if not lossy:
        return av.VideoFrame.from_ndarray(luma(image), format="gray")
    height, width = image.shape[:2]
    bottom, right = _even(height) - height, _even(width) - width
    padded = cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    planes = np.asarray(cv2.cvtColor(padded, cv2.COLOR_RGB2YUV_I420), dtype=np.uint8)
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _even(side: int) -> int:
    return side + side % 2
