"""The compiled attention of a map to itself as Python functions."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Heads:
    """How a map ``(cells, channels)`` is laid out: per head its query, its key, its value.

    ``key``: channels of a head's key, and of its query; ``value``: channels of its value.

    :raises ValueError: for a number that is not positive.
    """

    cells: int
    count: int
    key: int
    value: int

    def __post_init__(self) -> None:
        if min(self.cells, self.count, self.key, self.value) < 1:
            raise ValueError(f"attention needs positive sizes, not {self}")

    @property
    def channels(self) -> int:
        """Of the map."""
        return self.count * (2 * self.key + self.value)

    @property
    def out_channels(self) -> int:
        """Of the attention, and of the values."""
        return self.count * self.value


class AttentionKernel:
    """Maps are given by their addresses, float32 or, where ``half``, bfloat16, contiguous; the
    compiled code trusts that."""

    def __init__(self, library: ctypes.CDLL) -> None:
        """``library``: whose functions are declared (``signatures.py``)."""
        self._library = library

    def room(self, heads: Heads) -> int:
        """Return the floats of memory that :meth:`attend` needs."""
        record = _record(heads)
        return int(self._library.fluxshard_attention_room(record.ctypes.data))

    def attend(
        self,
        heads: Heads,
        source: int,
        scale: float,
        room: int,
        outputs: tuple[int, int | None],
        threads: int,
        *,
        half: bool = False,
    ) -> None:
        """Write the attention and, where it has an address, the values of ``source``, both
        ``(cells, out_channels)``; see ``attention.h``.

        ``room``: the address of so many floats as :meth:`room` says.
        """
        record = _record(heads)  # named: it must live until the call returns
        self._library.fluxshard_attend(
            record.ctypes.data, source, scale, room, *outputs, half, threads
        )


def _record(heads: Heads) -> npt.NDArray[np.int64]:
    return np.array([heads.cells, heads.count, heads.key, heads.value], dtype=np.int64)
