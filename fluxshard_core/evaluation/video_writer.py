"""Writes RGB frames to an H.264 video that ordinary players play."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from fluxshard_core.closing import Closing


class VideoWriter(Closing):
    """Opens ``path`` with the first frame; later frames must have its size.

    H.264 in 4:2:0 wants even sides: an odd last row or column is left out.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self._container = av.open(str(path), mode="w", options={"movflags": "+faststart"})
        rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "20"})
        self._stream.pix_fmt = "yuv420p"
        self.frames = 0

    def write(self, image: npt.NDArray[np.uint8]) -> None:
        """Append uint8 RGB ``(height, width, 3)``."""
        height, width = (side - side % 2 for side in image.shape[:2])
        if self.frames == 0:
            self._stream.height, self._stream.width = height, width
        even = np.ascontiguousarray(image[:height, :width])
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def close(self) -> None:
        """Flush the encoder and finish the file."""
        if self.frames:
            self._container.mux(self._stream.encode())
        self._container.close()
