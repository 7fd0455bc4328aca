"""Byte arrays as rclpy wants them."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
import numpy.typing as npt


def uint8_array(values: npt.NDArray[np.uint8]) -> array[int]:
    """Return ``values``, flattened, as the ``array('B')`` that rclpy takes without a copy per item.

    rclpy checks every element of any other sequence in Python: 1 MB then costs a second.
    """
    return array("B", np.ascontiguousarray(values).tobytes())


def numpy_of(values: Any, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """View a received primitive array as NumPy without copying."""
    return np.frombuffer(values, dtype=dtype) if len(values) else np.zeros(0, dtype=dtype)
