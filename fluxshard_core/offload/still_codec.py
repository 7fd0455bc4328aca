"""The ``jpeg`` and ``webp`` shard codecs: the blocks as a mosaic, compressed as one image."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.WebPImagePlugin import WebPImageFile

from fluxshard_core.errors import InputError
from fluxshard_core.offload.mosaic import from_mosaic, mosaic_grid, to_mosaic

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
_WEBP_HEADER_BYTES = 30
_WEBP_SIDE = 0x3FFF
_UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class StillCodec(ABC):
    """One file format; ``quality`` 1 to 100 is its own, and only the encoder needs it.

    ``reader`` opens it: ``Image.open`` would do, had ultralytics not replaced it with a function
    that looks for another package when a file is damaged.
    """

    format: ClassVar[str]
    reader: ClassVar[type[ImageFile]]
    options: ClassVar[dict[str, Any]]

    def __init__(self, quality: int) -> None:
        if not 1 <= quality <= 100:
            raise InputError(f"{self.format} quality is {quality}; use 1 to 100")
        self._quality = quality

    def encode(self, image: UInt8, ids: Int32, block_size: int) -> UInt8:
        """Return the ``(bytes,)`` uint8 file of blocks ``ids`` of a ``(H, W, 3)`` image."""
        if len(ids) == 0:
            return np.zeros(0, dtype=np.uint8)
        file = io.BytesIO()
        mosaic = Image.fromarray(to_mosaic(image, ids, block_size))
        mosaic.save(file, self.format, quality=self._quality, **self.options)
        return np.frombuffer(file.getvalue(), dtype=np.uint8)

    def decode_into(self, image: UInt8, ids: Int32, payload: UInt8, block_size: int) -> None:
        """Write the blocks ``ids`` into a contiguous ``(H, W, 3)`` image, in place.

        :raises InputError: if the payload is not a file of this format and of their size; it is
            held against that size before a pixel is decoded.
        """
        if len(ids) == 0:
            if len(payload):
                raise InputError(f"{len(payload)} bytes of {self.format} for no block")
            return
        rows, cols = mosaic_grid(len(ids))
        mosaic = self._decode(payload.tobytes(), cols * block_size, rows * block_size)
        from_mosaic(image, ids, mosaic, block_size)

    def _decode(self, data: bytes, width: int, height: int) -> UInt8:
        try:
            self._check_header(data, (width, height))
            with self.reader(io.BytesIO(data)) as file:
                if file.size != (width, height) or file.mode != "RGB":
                    raise InputError(f"{file.mode} mosaic of {file.size}, not {(width, height)}")
                return np.asarray(file, dtype=np.uint8)
        except _UNREADABLE as error:
            raise InputError(f"{self.format} shards cannot be decoded: {error}") from error

    @abstractmethod
    def _check_header(self, data: bytes, size: tuple[int, int]) -> None:
        """Raise ``InputError`` for a file whose mere opening would allocate too much."""


class JpegCodec(StillCodec):
    """JPEG with chroma halved both ways: a 16-pixel block is exactly one coded unit."""

    format = "JPEG"
    reader = JpegImageFile
    options: ClassVar[dict[str, Any]] = {"subsampling": "4:2:0", "optimize": True}

    def __init__(self, quality: int = 75) -> None:
        super().__init__(quality)

    def _check_header(self, data: bytes, size: tuple[int, int]) -> None:
        """Opening a JPEG reads its header only."""


class WebpCodec(StillCodec):
    """Lossy WebP, a single VP8 key frame."""

    format = "WEBP"
    reader = WebPImageFile
    options: ClassVar[dict[str, Any]] = {"method": 2}

    def __init__(self, quality: int = 75) -> None:
        super().__init__(quality)

    def _check_header(self, data: bytes, size: tuple[int, int]) -> None:
        header = data[:_WEBP_HEADER_BYTES]
        kind, start = header[8:16], header[23:26]
        stated = tuple(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        plain = kind == b"WEBPVP8 " and start == b"\x9d\x01\x2a"
        if not plain or tuple(side & _WEBP_SIDE for side in stated) != size:
            raise InputError(f"WEBP shards are not one lossy picture of {size[0]}x{size[1]}")
