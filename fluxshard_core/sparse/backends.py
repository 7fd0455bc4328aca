"""Which backend a network runs on here."""

from __future__ import annotations

import logging

import torch

from fluxshard_core.sparse.compiled.backend import CompiledBackend
from fluxshard_core.sparse.operators import Backend
from fluxshard_core.sparse.ops.backend import CpuBackend
from fluxshard_kernels.cpu.build import BuildError

_log = logging.getLogger(__name__)


def default_backend(dtype: torch.dtype = torch.float32, *, exact: bool = True) -> Backend:
    """Return the fastest backend of this machine; ``exact`` as for :class:`CpuBackend`.

    Compiled kernels where a C++ compiler is at hand, else plain PyTorch.
    """
    try:
        return CompiledBackend(dtype)
    except BuildError as error:
        _log.warning("running on plain PyTorch, several times slower: %s", error)
    return CpuBackend(dtype, exact=exact)
