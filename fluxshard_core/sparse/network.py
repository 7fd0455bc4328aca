"""Network: a bound plan and one endpoint's features, ready to be run."""

from __future__ import annotations

import torch

from fluxshard_core.reuse.remap import Level
from fluxshard_core.sparse.binding import Binding
from fluxshard_core.sparse.tiles import TileGrid


class Network:
    """What every pass over the plan shares. Tensors are known by name."""

    def __init__(self, binding: Binding, *, filtered: bool) -> None:
        self.binding = binding
        self.plan = binding.plan
        self.backend = binding.backend
        self.level = binding.level
        self.grid = binding.grid
        self.steps = binding.steps
        self.cache = binding.new_cache(filtered=filtered)
        self.runner = binding.runner(filtered=filtered)
        self.vectors: dict[str, torch.Tensor] = {}
        """Tensors without spatial meaning, kept because an island may not run again."""

    def grid_of(self, name: str) -> TileGrid:
        """Return the tile grid of a tensor's level."""
        return self.binding.grid_of(name)

    @property
    def cached_levels(self) -> set[Level]:
        """Levels with a cached map."""
        return {self.level[name] for name in self.cache.names}
