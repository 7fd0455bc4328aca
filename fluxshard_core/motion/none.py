"""The source that claims nothing ever moves: for static cameras and as a baseline."""

from __future__ import annotations

from fluxshard_core.motion.field import MotionField
from fluxshard_core.motion.source import MotionFrame, UInt8, check_image


class NoMotion:
    """Zero motion, valid everywhere but on the first frame of a sequence or of a new size."""

    def __init__(self) -> None:
        """Start with no previous frame."""
        self._shape: tuple[int, int] | None = None

    def next(self, image: UInt8, /) -> MotionFrame:
        """Return ``image`` itself with zero motion."""
        image = check_image(image)
        height, width = image.shape[:2]
        seen, self._shape = self._shape == (height, width), (height, width)
        field = MotionField.zero(height, width) if seen else MotionField.invalid(height, width)
        return MotionFrame(image, field)

    def reset(self) -> None:
        """Forget the previous frame."""
        self._shape = None
