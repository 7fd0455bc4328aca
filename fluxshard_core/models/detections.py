"""What a model found in one frame, in pixels of the original image."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class InstanceMask:
    """One instance's mask inside its own integer box.

    ``bits`` is the ``(height, width)`` mask flattened row by row and packed eight cells a byte,
    most significant bit first (``numpy.packbits``), padded with zeros at the very end.
    """

    x: int
    y: int
    width: int
    height: int
    bits: UInt8

    @classmethod
    def pack(cls, x: int, y: int, mask: npt.NDArray[np.bool_]) -> InstanceMask:
        """Pack a ``(height, width)`` bool mask whose top-left pixel is ``(x, y)``."""
        height, width = mask.shape
        return cls(x, y, width, height, np.packbits(mask.reshape(-1)))

    def unpack(self) -> npt.NDArray[np.bool_]:
        """Return the ``(height, width)`` bool mask."""
        cells = np.unpackbits(self.bits, count=self.height * self.width)
        return cells.astype(np.bool_).reshape(self.height, self.width)


def _empty(*shape: int) -> Float32:
    return np.zeros(shape, dtype=np.float32)


@dataclass(frozen=True)
class Detections:
    """Instances of one frame, best score first.

    ``boxes`` ``(N, 4)`` float32 ``x1, y1, x2, y2`` in original pixels; ``scores`` ``(N,)`` float32
    in [0, 1]; ``class_ids`` ``(N,)`` int32; ``masks`` one per instance for segmentation models,
    else ``None``; ``keypoints`` ``(N, K, 3)`` float32 ``x, y, confidence`` for pose models,
    else ``None``.
    """

    boxes: Float32 = field(default_factory=lambda: _empty(0, 4))
    scores: Float32 = field(default_factory=lambda: _empty(0))
    class_ids: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    masks: tuple[InstanceMask, ...] | None = None
    keypoints: Float32 | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, confidence: float) -> Detections:
        """Return those whose score is above ``confidence``."""
        count = int(np.count_nonzero(self.scores > confidence))
        return Detections(
            self.boxes[:count],
            self.scores[:count],
            self.class_ids[:count],
            None if self.masks is None else self.masks[:count],
            None if self.keypoints is None else self.keypoints[:count],
        )
