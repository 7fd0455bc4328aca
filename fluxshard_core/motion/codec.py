"""Motion from an incoming H.264 or H.265 stream: the vectors its encoder already chose."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
import numpy as np

from fluxshard_core.errors import InputError
from fluxshard_core.motion import bitstream
from fluxshard_core.motion.encoder import EncoderMotion
from fluxshard_core.motion.field import MotionField
from fluxshard_core.motion.side_data import frame_field
from fluxshard_core.motion.source import ImageSource, MotionFrame

if TYPE_CHECKING:
    from av.stream import Stream

CodecName = Literal["h264", "hevc"]
CODECS: tuple[CodecName, ...] = ("h264", "hevc")


class CodecMotion:
    """Decodes packets and returns each picture, in display order, with its motion.

    Vectors come from the bitstream, for free, where they are known to point to the picture
    displayed just before: H.264 progressive, one reference frame, every picture a reference, no
    crop at the left or top (what low-latency encoders send). In every other stream FFmpeg does
    not say which picture a vector points to, and its H.265 decoder (up to 8.1 at least) exports
    no vectors at all. Those streams are decoded and their motion found anew by ``estimator``;
    ``estimated`` says so, and stays True until ``reset``. Motion is never silently zero: what is
    unknown is invalid.

    Packets before the first parameter set are skipped, since nothing can decode them. A picture
    concealed after damage is returned with an invalid field; after a lost packet the vectors still
    relate the pictures returned, because the decoder predicts from the last of them.
    """

    def __init__(self, codec: CodecName = "h264", *, estimator: ImageSource | None = None) -> None:
        """Prepare to decode ``codec``.

        ``estimator`` finds the motion where the bitstream cannot give it; the default is
        :class:`EncoderMotion`.

        :raises InputError: if ``codec`` is not one of ``CODECS``.
        """
        if codec not in CODECS:
            raise InputError(f"codec is {codec!r}; motion can be read from {', '.join(CODECS)}")
        self._codec = codec
        self._estimator = estimator or EncoderMotion()
        self.reset()

    def reset(self) -> None:
        """Forget the stream: the next packets must start with a key frame."""
        self._decoder = av.CodecContext.create(self._codec, "r")
        # With slice threads libavcodec neither conceals nor reports damage in H.264 pictures.
        self._decoder.thread_type, self._decoder.thread_count = "SLICE", 1
        self._decoder.options = {"flags2": "+export_mvs"}
        self._estimator.reset()
        self._sps: bytes | None = None
        self._estimated = self._codec != "h264"
        self._gap = True

    @property
    def estimated(self) -> bool:
        """Whether motion now comes from the estimator instead of the bitstream."""
        return self._estimated

    def next(self, packet: bytes, /) -> MotionFrame:
        """Decode one access unit of a stream without delay and return its picture.

        :raises InputError: if the packet does not complete exactly one picture; use
            :meth:`decode` for streams that reorder pictures or may start in the middle.
        """
        frames = self.decode(packet)
        if len(frames) != 1:
            raise InputError(
                f"packet of {len(packet)} bytes completed {len(frames)} pictures, not one; "
                "a stream with B-frames or one joined in the middle needs decode()"
            )
        return frames[0]

    def decode(self, packet: bytes, pts: int | None = None) -> list[MotionFrame]:
        """Decode one Annex B access unit and return the pictures it completes, none or more.

        :raises InputError: if the packet is empty or damaged. The stream may go on: the field of
            the next picture is then invalid everywhere.
        """
        if not packet:
            raise InputError("packet is empty; send whole access units, and flush() at the end")
        self._read_headers(packet)
        if self._sps is None:
            return []
        unit = av.Packet(packet)
        unit.pts = pts
        return self._decode(unit)

    def flush(self) -> list[MotionFrame]:
        """Return the pictures still held back at the end of the stream, and reset."""
        frames = self._decode(None) if self._sps is not None else []
        self.reset()
        return frames

    def _read_headers(self, packet: bytes) -> None:
        """Switch to the estimator when the packet's headers show that vectors are ambiguous."""
        for unit in bitstream.nal_units(packet):
            if self._codec == "hevc":
                if (unit[0] >> 1) & 0x3F == bitstream.HEVC_SPS:
                    self._sps = unit
                continue
            kind, is_reference = unit[0] & 0x1F, unit[0] >> 5 & 0x3
            if kind == bitstream.H264_SPS and unit != self._sps:
                self._estimated |= not bitstream.h264_vectors_point_to_previous(unit)
                self._sps = unit
            elif kind in bitstream.H264_SLICES and not is_reference:
                self._estimated = True

    def _decode(self, packet: av.Packet[Stream] | None) -> list[MotionFrame]:
        try:
            frames = self._decoder.decode(packet)
        except av.FFmpegError as error:
            self._gap = True
            raise InputError(f"{self._codec} packet cannot be decoded: {error}") from error
        return [self._motion_frame(frame) for frame in frames]

    def _motion_frame(self, frame: av.VideoFrame) -> MotionFrame:
        image = np.ascontiguousarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
        if self._estimated:
            field = self._estimator.next(image).field
        elif self._gap:
            field = MotionField.invalid(frame.height, frame.width)
        else:
            field = frame_field(frame)
        self._gap = False
        return MotionFrame(image, field, frame.pts)


def read_video(path: str | Path, *, estimator: ImageSource | None = None) -> Iterator[MotionFrame]:
    """Yield every picture of a video file, in display order, with its motion.

    :raises InputError: if the file cannot be read or its video is neither H.264 nor H.265.
    """
    try:
        with av.open(str(path)) as container:
            yield from _read_container(container, str(path), estimator)
    except av.FFmpegError as error:
        raise InputError(f"{path} cannot be read as video: {error}") from error


def _read_container(
    container: av.container.InputContainer, path: str, estimator: ImageSource | None
) -> Iterator[MotionFrame]:
    if not container.streams.video:
        raise InputError(f"{path} has no video stream")
    stream = container.streams.video[0]
    codec = stream.codec_context.name
    if codec not in CODECS:
        raise InputError(f"{path} is {codec} video; motion can be read from {', '.join(CODECS)}")
    source = CodecMotion(codec, estimator=estimator)
    to_annex_b = av.BitStreamFilterContext(f"{codec}_mp4toannexb", stream)
    for packet in container.demux(stream):
        for unit in to_annex_b.filter(packet if packet.size else None):
            yield from source.decode(bytes(unit), unit.pts)
    yield from source.flush()
