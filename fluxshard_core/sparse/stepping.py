"""Inference that is done in steps, between which other code runs."""

from __future__ import annotations

from collections.abc import Iterator

import torch

_END = object()


def inferring(steps: Iterator[None]) -> Iterator[None]:
    """Take ``steps`` in PyTorch's inference mode, and pause outside of it."""
    while True:
        with torch.inference_mode():
            if next(steps, _END) is _END:
                return
        yield
