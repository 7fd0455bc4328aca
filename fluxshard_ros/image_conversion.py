"""sensor_msgs/Image to RGB arrays and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from fluxshard_core.errors import InputError
from fluxshard_core.pixel_formats import ENCODINGS, image_to_rgb
from fluxshard_ros.arrays import uint8_array

UInt8 = npt.NDArray[np.uint8]


def rgb_of_message(message: Image) -> UInt8:
    """Return uint8 RGB ``(height, width, 3)``; raise ``InputError`` when the message is no image.

    Encodings outside the library's own list are left to cv_bridge where it is installed.
    """
    if message.encoding not in ENCODINGS:
        return _with_cv_bridge(message)
    return image_to_rgb(
        message.data,
        height=message.height,
        width=message.width,
        encoding=message.encoding,
        step=message.step,
        big_endian=bool(message.is_bigendian),
    )


def _with_cv_bridge(message: Image) -> UInt8:
    known = ", ".join(ENCODINGS)
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError:
        raise InputError(
            f"unknown image encoding {message.encoding!r}; known: {known} "
            "(installing cv_bridge adds its own)"
        ) from None
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)
    except (CvBridgeError, RuntimeError) as error:
        raise InputError(
            f"cv_bridge cannot turn encoding {message.encoding!r} into RGB: {error}"
        ) from error


def message_of_rgb(image: UInt8, header: Header) -> Image:
    """Return an ``rgb8`` message of uint8 RGB ``(height, width, 3)``."""
    height, width = image.shape[:2]
    return Image(
        header=header,
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=uint8_array(image),
    )
