"""The records of the headers beside it as numpy types, field by field the same."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import numpy as np


class Kind(IntEnum):
    """What an operator does."""

    CONVOLVE = 0
    DEPTHWISE = 1
    MAXIMUM = 2
    AVERAGE = 3
    COPY = 4
    ADD = 5
    MULTIPLY = 6
    ACTIVATE = 7


ACTIVATIONS = (
    "",
    "relu",
    "silu",
    "sigmoid",
    "tanh",
    "leaky_relu",
    "hardswish",
    "hardsigmoid",
    "relu6",
    "gelu",
)
"""By the number that stands for each; the first is none."""

_WINDOW: Any = [
    ("kernel", "i4", 2),
    ("dilation", "i4", 2),
    ("size", "i4", 2),
    ("pitch", "i4"),
    ("table", "i4"),
]
SEGMENT = np.dtype([("buffer", "i4"), ("list", "i4"), ("offset", "i4"), ("length", "i4")])
OPERATOR = np.dtype(
    [
        ("kind", "i4"),
        ("activation", "i4"),
        ("slope", "f4"),
        ("cells", "i4"),
        ("segment", "i4"),
        ("segments", "i4"),
        ("other", "i4"),
        ("buffer", "i4"),
        ("list", "i4"),
        ("offset", "i4"),
        ("channels", "i4"),
        ("rows", "i4"),
        ("cols", "i4"),
        ("unused", "i4"),
        ("weights", "u8"),
        ("bias", "u8"),
        ("window", np.dtype(_WINDOW)),
    ]
)
BUFFER = np.dtype([("data", "u8"), ("stride", "i8")])
LIST = np.dtype([("positions", "u8"), ("count", "i8")])
PART = np.dtype([("buffers", "u8"), ("lists", "u8")])
RULE = np.dtype(
    [
        ("scale", "i4", 2),
        ("shift", "i4", 2),
        ("divisor", "i4", 2),
        ("period", "i4", 2),
        ("phase", "i4", 2),
        ("what", "i4"),
        ("pitch", "i4"),
        ("origin", "i8"),
        ("table", "u8"),
    ]
)
GRID = np.dtype([(name, "i8") for name in ("height", "width", "pitch", "origin", "size")])
BLOCKS = np.dtype(
    [
        ("vectors", "u8"),
        ("known", "u8"),
        ("rows", "i8"),
        ("cols", "i8"),
        ("common", "i4", 2),
    ]
)
_COVER: Any = [("rows", "u8"), ("cols", "u8"), ("row_span", "i8"), ("col_span", "i8")]
FOLLOWED = np.dtype(
    [
        ("size", "i4", 3),
        ("in_place", "i4"),
        ("step", "i4", 2),
        ("cover", np.dtype(_COVER)),
        ("carried", "u8", 2),
        ("shift", "u8"),
        ("residual", "u8"),
        ("valid", "u8"),
        ("remains", "i8"),
    ]
)
SURVEYED = np.dtype(
    [
        ("cells", "u8"),
        ("count", "i8"),
        ("channels", "i8"),
        ("peaks", "u8"),
        ("finite", "i8"),
    ]
)
