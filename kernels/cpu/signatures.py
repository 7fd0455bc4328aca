"""The C functions of ``library.cpp`` as ctypes knows them."""

from __future__ import annotations

import ctypes
from typing import Any

_POINTER, _INT32, _INT64 = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64
_SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "fluxshard_width": (_INT32, []),
    "fluxshard_panel": (_INT32, []),
    "fluxshard_run": (
        None,
        [_POINTER, _INT64, _POINTER, _POINTER, _INT64, _INT32, _INT32, _POINTER],
    ),
    "fluxshard_marked": (_INT64, [_POINTER, _INT32, _INT32, _POINTER, _POINTER]),
    "fluxshard_lists": (None, [_POINTER, _INT64, *[_POINTER] * 6, _INT32]),
    "fluxshard_gather": (None, [_POINTER, _INT64, _POINTER, _INT64, _POINTER, _INT32]),
    "fluxshard_follow": (None, [*[_POINTER] * 2, _INT64, _INT32]),
    "fluxshard_lost": (None, [*[_POINTER] * 4, ctypes.c_double, _POINTER]),
    "fluxshard_keep": (_INT32, [_INT64, *[_POINTER] * 4]),
    "fluxshard_move_table": (None, [_POINTER] * 6),
    "fluxshard_move": (None, [_POINTER, _INT64, *[_POINTER] * 2, _INT64, _INT32]),
    "fluxshard_survey": (None, [_POINTER, _INT64, _INT32]),
    "fluxshard_move_blocks": (None, [*[_POINTER] * 4, _INT32]),
    "fluxshard_compare_blocks": (None, [*[_POINTER] * 4, _INT32]),
    "fluxshard_compose_blocks": (None, [*[_POINTER] * 5, _INT32]),
    "fluxshard_scale_bytes": (
        None,
        [_POINTER, _INT64, _INT64, _POINTER, _INT64, _INT32, _INT32],
    ),
    "fluxshard_attention_room": (_INT64, [_POINTER]),
    "fluxshard_attend": (
        None,
        [_POINTER, _POINTER, ctypes.c_float, *[_POINTER] * 3, _INT32, _INT32],
    ),
}


def declare(library: ctypes.CDLL) -> None:
    """Tell ctypes what the functions take and return.

    :raises AttributeError: if the library lacks one.
    """
    for name, (result, arguments) in _SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
