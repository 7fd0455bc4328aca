"""One camera frame as every source yields it and every session takes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Frame:
    """``image`` is uint8 RGB ``(height, width, 3)``; ``stamp_ns`` is when it was taken.

    ``number`` counts the frames of its source from 0; ``frame_id`` names the camera's coordinate
    frame and travels untouched to every output.
    """

    image: npt.NDArray[np.uint8]
    stamp_ns: int = 0
    number: int = 0
    frame_id: str = "camera"
