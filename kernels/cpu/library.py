"""The compiled kernels as Python functions over numpy records."""

from __future__ import annotations

import ctypes
import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxshard_kernels.cpu.build import BuildError, library_path

Records = npt.NDArray[np.void]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_POINTER, _INT32, _INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "fluxshard_width": (_INT32, []),
    "fluxshard_panel": (_INT32, []),
    "fluxshard_run": (
        None,
        [_POINTER, _INT64, _POINTER, _POINTER, _INT64, _INT32, _INT32, _POINTER],
    ),
    "fluxshard_marked": (_INT64, [_POINTER, _INT32, _INT32, _POINTER, _POINTER]),
    "fluxshard_lists": (None, [_POINTER, _INT64, *[_POINTER] * 6]),
    "fluxshard_nearest": (
        None,
        [_POINTER, _POINTER, _INT64, *[_POINTER] * 3, _INT64, *[_POINTER] * 3],
    ),
    "fluxshard_move": (None, [_POINTER, _INT64, *[_POINTER] * 2, _INT64, _INT32]),
}


class Library:
    """Calls into the compiled code; arrays are those of ``records.py``, contiguous.

    The code trusts its arguments: who calls it must keep all that they point to alive.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        self._library = library
        self.width: int = library.fluxshard_width()
        """Floats in a vector."""
        self.panel: int = library.fluxshard_panel()
        """Vectors of output channels that a convolution computes at a time."""

    def run(
        self,
        operators: Records,
        segments: Records,
        parts: Records,
        threads: int,
        spent: Int64 | None = None,
        *,
        half: bool = False,
    ) -> None:
        """Run operators in order, each for all parts; ``spent`` gets the nanoseconds of each.

        Buffers hold bfloat16 where ``half``, else float32.
        """
        self._library.fluxshard_run(
            operators.ctypes.data,
            len(operators),
            segments.ctypes.data,
            parts.ctypes.data,
            len(parts),
            half,
            threads,
            None if spent is None else spent.ctypes.data,
        )

    def marked(self, marks: Bool | None, shape: tuple[int, int], rows: Int32, cols: Int32) -> int:
        """Write rows and columns of the marked cells ``(H, W)``, all if None; return how many."""
        count: int = self._library.fluxshard_marked(
            None if marks is None else marks.ctypes.data, *shape, rows.ctypes.data, cols.ctypes.data
        )
        return count

    def lists(
        self,
        rules: Records,
        cells: tuple[Int64, Int64, Int64],
        level_of: Int32,
        out: Int64,
        written: Int64,
    ) -> None:
        """Apply each rule to its level's cells: addresses of rows and columns, and counts."""
        arrays = (*cells, level_of, out, written)
        self._library.fluxshard_lists(
            rules.ctypes.data, len(rules), *(array.ctypes.data for array in arrays)
        )

    def nearest(
        self, vectors: Int32, cells: Int32, levels: Int32, counts: Int64, carried: Int16
    ) -> tuple[Int32, Int32, Bool]:
        """Return shift ``(2, n)``, what is left ``(2, n)`` and validity ``(n,)`` of flat ``cells``.

        ``vectors`` ``(2, n)`` quarter pixels; ``levels`` ``(L, 4)``: quarter pixels a cell, rows,
        columns and where the level starts in ``carried`` ``(2, total)``; ``counts`` ``(L,)``
        cells of each.
        """
        shift, left = np.empty_like(vectors), np.empty_like(vectors)
        valid: Bool = np.empty(len(cells), dtype=np.bool_)
        self._library.fluxshard_nearest(
            vectors.ctypes.data,
            cells.ctypes.data,
            len(cells),
            levels.ctypes.data,
            counts.ctypes.data,
            carried.ctypes.data,
            carried.shape[1],
            shift.ctypes.data,
            left.ctypes.data,
            valid.ctypes.data,
        )
        return shift, left, valid

    def move(self, maps: Records, sources: Int64, destinations: Int64, threads: int) -> None:
        """Move cells of maps, strides in bytes, a map a thread at a time; no destination twice."""
        self._library.fluxshard_move(
            maps.ctypes.data,
            len(maps),
            sources.ctypes.data,
            destinations.ctypes.data,
            len(sources),
            threads,
        )


@functools.cache
def load_if_possible() -> Library | None:
    """Return the compiled kernels, or None where :func:`load` fails."""
    try:
        return load()
    except BuildError:
        return None


@functools.cache
def load() -> Library:
    """Return the compiled kernels.

    :raises BuildError: if they cannot be built or loaded on this machine.
    """
    path = library_path()
    try:
        return Library(ctypes.CDLL(str(path)))
    except (OSError, AttributeError) as error:
        raise BuildError(f"cannot load {path}: {error}") from error
