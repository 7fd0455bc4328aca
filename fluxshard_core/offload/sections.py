"""Named arrays as one run of raw bytes: the payload of a frame."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from fluxshard_core.offload.wire_errors import LengthError, SectionError

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "u1": np.dtype("u1"),
    "i2": np.dtype("<i2"),
    "i4": np.dtype("<i4"),
    "f4": np.dtype("<f4"),
}
"""The only dtypes on the wire, little-endian whatever the machine."""

MAX_SECTIONS: Final = 16
MAX_RANK: Final = 4
MAX_ELEMENTS: Final = 2**32

Array = npt.NDArray[Any]


class Section(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where an array's bytes came from; sections lie in the payload in the order of the list."""

    name: str
    dtype: str
    shape: tuple[int, ...]


def pack(arrays: Mapping[str, Array]) -> tuple[tuple[Section, ...], list[memoryview]]:
    """Return the sections and, in the same order, their bytes (views where nothing is to swap).

    :raises SectionError: for a dtype outside ``DTYPES``.
    """
    sections, buffers = [], []
    for name, array in arrays.items():
        code = f"{array.dtype.kind}{array.dtype.itemsize}"
        if code not in DTYPES:
            raise SectionError(f"dtype of {name!r}", expected=sorted(DTYPES), actual=array.dtype)
        sections.append(Section(name, code, array.shape))
        contiguous = np.ascontiguousarray(array, dtype=DTYPES[code])
        buffers.append(contiguous.reshape(-1).view(np.uint8).data)
    return tuple(sections), buffers


def unpack(sections: Iterable[Section], payload: memoryview) -> dict[str, Array]:
    """Return the arrays by name: ``u1`` as views of the payload, the others as aligned copies.

    :raises SectionError: for a forbidden dtype, too many dimensions, or a name given twice.
    :raises LengthError: when the shapes do not add up to exactly the payload.
    """
    arrays: dict[str, Array] = {}
    start = 0
    for index, section in enumerate(sections):
        if index >= MAX_SECTIONS:
            raise SectionError("sections", expected=f"at most {MAX_SECTIONS}", actual="more")
        if section.name in arrays:
            raise SectionError("section names", expected="unique", actual=section.name)
        end = start + _byte_length(section)
        if end > len(payload):
            raise LengthError(
                f"payload up to section {section.name!r}", expected=end, actual=len(payload)
            )
        flat = np.frombuffer(payload[start:end], dtype=DTYPES[section.dtype])
        native = flat if section.dtype == "u1" else flat.astype(flat.dtype.newbyteorder("="))
        arrays[section.name] = native.reshape(section.shape)
        start = end
    if start != len(payload):
        raise LengthError("payload length", expected=start, actual=len(payload))
    return arrays


def require_names(arrays: Mapping[str, Array], needed: set[str], optional: set[str]) -> None:
    """Raise ``SectionError`` unless every needed section is there and none is unknown."""
    names = set(arrays)
    if not needed <= names <= needed | optional:
        raise SectionError(
            "section names",
            expected=f"{sorted(needed)} and perhaps {sorted(optional)}",
            actual=sorted(names),
        )


def _byte_length(section: Section) -> int:
    if section.dtype not in DTYPES:
        raise SectionError(
            f"dtype of {section.name!r}", expected=sorted(DTYPES), actual=section.dtype
        )
    # Sides of zero are left out of the product: they must not hide an absurd one beside them.
    elements = math.prod(max(side, 1) for side in section.shape[:MAX_RANK])
    if (
        len(section.shape) > MAX_RANK
        or any(side < 0 for side in section.shape)
        or elements > MAX_ELEMENTS
    ):
        raise SectionError(
            f"shape of {section.name!r}",
            expected=f"at most {MAX_RANK} sides and {MAX_ELEMENTS} elements, none negative",
            actual=section.shape,
        )
    return math.prod(section.shape) * DTYPES[section.dtype].itemsize
