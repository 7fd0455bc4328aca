"""`full_offload`: every frame is sent and inferred dense in the cloud."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fluxshard_core.baselines.context import MethodContext
from fluxshard_core.baselines.image_codecs import H264Images, ImageCodec, JpegImages, RawImages
from fluxshard_core.baselines.method import MethodResult
from fluxshard_core.baselines.uplink import wire_bytes
from fluxshard_core.errors import InputError
from fluxshard_core.frame import Frame

CODECS: dict[str, Callable[..., ImageCodec]] = {
    "raw": RawImages,
    "jpeg": JpegImages,
    "h264": H264Images,
    "h264_420": partial(H264Images, halved=True),
}


class FullOffload:
    """``codec`` is one of ``CODECS``; ``quality`` the JPEG quality or the CRF.

    ``h264`` has chroma of full size, as the shard codec has, ``h264_420`` that of common video.
    """

    def __init__(
        self, context: MethodContext, codec: str = "raw", quality: int | None = None
    ) -> None:
        if codec not in CODECS:
            raise InputError(f"no image codec {codec!r}; use one of {', '.join(CODECS)}")
        if codec == "raw" and quality is not None:
            raise InputError("raw images have no quality to set")
        self._context = context
        self._codec = CODECS[codec](*(() if quality is None else (quality,)))

    def reset(self) -> None:
        """Start a new stream."""
        self._codec.reset()

    def process(self, frame: Frame) -> MethodResult:
        """Send one frame and infer what arrives."""
        image, letterbox = self._context.detector.preprocess(frame.image)
        received = self._codec.transmit(image)
        dense = self._context.cost.multiply_accumulates(*image.shape[:2])
        return MethodResult(
            self._context.detect(received.image, letterbox),
            executed=dense,
            dense=dense,
            tx_bytes=wire_bytes(received.payload_bytes, letterbox),
        )
