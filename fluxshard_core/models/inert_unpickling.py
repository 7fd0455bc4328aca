"""Read a pickled ultralytics checkpoint as plain records: no class of it is ever constructed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fluxshard_core.errors import WeightsError

# torch keeps one allowlist per process.
_ALLOWLIST_LOCK = threading.Lock()

# What ultralytics checkpoints refer to. The names are only labels: every one is read as a Record.
_KNOWN_MODULES = ("ultralytics.", "torch.nn.", "numpy.", "pathlib.")
_KNOWN_NAMES = frozenset({"builtins.getattr"})  # how bound methods of fused layers are pickled


class Record:
    """Stands for one pickled object: keeps its attributes, does nothing."""

    def __new__(cls, *_arguments: object) -> Record:
        """Accept and drop whatever the pickle would have passed to the real class."""
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


def mapping_attribute(record: Record, name: str) -> dict[Any, Any]:
    """The record's attribute if it is a dictionary, else an empty one."""
    value = record.__dict__.get(name)
    return value if isinstance(value, dict) else {}


def load_inert(path: Path) -> Any:
    """Load ``path`` with ``torch.load(weights_only=True)``, every object of it as a ``Record``.

    Tensors, parameters and plain containers come back as they are.

    :raises WeightsError: if the file refers to anything an ultralytics checkpoint does not, or is
        damaged.
    """
    with _ALLOWLIST_LOCK, _empty_allowlist(), _reading(path):
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
        foreign = sorted(name for name in names if not _is_known(name))
        if foreign:
            raise WeightsError(
                f"{path} was refused: it refers to {', '.join(foreign[:5])}, which no YOLO "
                "checkpoint needs and which could run code; use a file from a source you trust"
            )
        torch.serialization.add_safe_globals([(Record, name) for name in names])
        return torch.load(path, map_location="cpu", weights_only=True)


@contextlib.contextmanager
def _empty_allowlist() -> Iterator[None]:
    """Start from no allowed names, so that none a program has allowed constructs a real class."""
    allowed = torch.serialization.get_safe_globals()
    torch.serialization.clear_safe_globals()
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(allowed)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except WeightsError:
        raise
    except Exception as error:  # a damaged pickle stream can raise almost anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{path} cannot be read as a PyTorch checkpoint: {reason}") from error


def _is_known(name: str) -> bool:
    return name.startswith(_KNOWN_MODULES) or name in _KNOWN_NAMES
