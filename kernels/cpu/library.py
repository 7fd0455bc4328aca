"""The compiled kernels as Python functions over numpy records."""

from __future__ import annotations

import ctypes
import functools

import numpy as np
import numpy.typing as npt

from fluxshard_kernels.cpu.attention_kernel import AttentionKernel
from fluxshard_kernels.cpu.build import BuildError, library_path
from fluxshard_kernels.cpu.pixel_kernels import PixelKernels
from fluxshard_kernels.cpu.signatures import declare

Records = npt.NDArray[np.void]
Int16 = npt.NDArray[np.int16]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]


class Library:
    """Calls into the compiled code; arrays are those of ``records.py``, contiguous.

    The code trusts its arguments: who calls it must keep all that they point to alive.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        declare(library)
        self._library = library
        self.pixels = PixelKernels(library)
        """Those on frames of bytes."""
        self.attention = AttentionKernel(library)
        """Of a map to itself."""
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
        threads: int,
    ) -> None:
        """Apply each rule to its level's cells: addresses of rows and columns, and counts."""
        arrays = (*cells, level_of, out, written)
        self._library.fluxshard_lists(
            rules.ctypes.data, len(rules), *(array.ctypes.data for array in arrays), threads
        )

    def gather(self, cells: int, size: int, positions: Int32, out: int, threads: int) -> None:
        """Copy the cells, ``size`` bytes each, that lie at ``positions`` from the address ``cells``
        on, to the address ``out``."""
        self._library.fluxshard_gather(
            cells, size, positions.ctypes.data, len(positions), out, threads
        )

    def follow(self, blocks: Records, levels: Records, threads: int) -> None:
        """Follow the cells of ``levels`` through the motion of ``blocks``, one record; both as in
        ``follow.h``. Writes what is found into the records and the arrays they point to."""
        self._library.fluxshard_follow(blocks.ctypes.data, levels.ctypes.data, len(levels), threads)

    def lost(
        self,
        level: tuple[int, int, int],
        shift: Int16,
        residual: Int16 | None,
        valid: Bool,
        limit: float,
    ) -> Bool:
        """Return the cells ``(H, W)`` of a level that no cached cell belongs to.

        ``level``, ``shift``, ``residual`` (None where zero everywhere) and ``valid`` as from
        :meth:`follow`; ``limit``: quarter pixels from which on content lies too far away.
        """
        lost = np.empty_like(valid)
        constants = np.array(level, dtype=np.int32)  # named: it must live until the call returns
        self._library.fluxshard_lost(
            constants.ctypes.data,
            shift.ctypes.data,
            None if residual is None else residual.ctypes.data,
            valid.ctypes.data,
            limit,
            lost.ctypes.data,
        )
        return lost

    def keep(self, residual: Int16, fresh: Bool | None, y: Int16, x: Int16) -> bool:
        """Write ``residual`` ``(2, H, W)`` into ``y`` and ``x``, zero where ``fresh``; return
        whether any is not zero."""
        cells = residual.shape[1] * residual.shape[2]
        return bool(
            self._library.fluxshard_keep(
                cells,
                residual.ctypes.data,
                None if fresh is None else fresh.ctypes.data,
                y.ctypes.data,
                x.ctypes.data,
            )
        )

    def move_table(self, grid: Records, old: Int32, table: Int32, shift: Int16, kept: Bool) -> None:
        """Write into ``table`` where every place's content lies after ``shift`` ``(2, H, W)``.

        ``old`` is the table before, ``kept`` ``(H, W)`` the cells whose content will be read; the
        others get positions of their own.
        """
        self._library.fluxshard_move_table(
            grid.ctypes.data,
            old.ctypes.data,
            table.ctypes.data,
            shift[0].ctypes.data,
            shift[1].ctypes.data,
            kept.ctypes.data,
        )

    def survey(self, maps: Records, threads: int) -> None:
        """Look at ``maps`` as in ``survey.h``; writes what is found into the records."""
        self._library.fluxshard_survey(maps.ctypes.data, len(maps), threads)

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


def load_if_built() -> Library | None:
    """Return the compiled kernels if this process has loaded them already; builds nothing."""
    return load() if load.cache_info().currsize else None


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
