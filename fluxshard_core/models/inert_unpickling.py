"""Read a pickled ultralytics checkpoint as plain records: no class of it is ever constructed."""

from __future__ import annotations

import pickle
import threading
from pathlib import Path
from typing import Any

import torch

from fluxshard_core.errors import WeightsError

# torch keeps one allowlist per process, and leaving `safe_globals` removes entries from it.
_ALLOWLIST_LOCK = threading.Lock()

# What ultralytics checkpoints refer to. The names are only labels: every one is read as a Record.
_KNOWN_MODULES = ("ultralytics.", "torch.nn.", "numpy.", "pathlib.", "torchvision.transforms.")
_KNOWN_NAMES = frozenset({"builtins.getattr", "builtins.slice"})


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


def load_inert(path: Path) -> Any:
    """Load ``path`` with ``torch.load(weights_only=True)``, every object of it as a ``Record``.

    Tensors, parameters and plain containers come back as they are.

    :raises WeightsError: if the file refers to anything an ultralytics checkpoint does not, or is
        damaged.
    """
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except (OSError, ValueError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise WeightsError(f"{path} cannot be read as a PyTorch checkpoint: {error}") from error
    foreign = sorted(name for name in names if not _is_known(name))
    if foreign:
        raise WeightsError(
            f"{path} was refused: it refers to {', '.join(foreign[:5])}, which no YOLO checkpoint "
            "needs and which could run code; use a file from a source you trust"
        )
    try:
        with _ALLOWLIST_LOCK, torch.serialization.safe_globals([(Record, n) for n in names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read as a PyTorch checkpoint: {error}") from error


def _is_known(name: str) -> bool:
    return name.startswith(_KNOWN_MODULES) or name in _KNOWN_NAMES
