"""TorchRunner: whole frames through the operators of this package, tile tensors in between."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from fluxshard_core.sparse.block_pass import BlockPass
from fluxshard_core.sparse.dense_pass import dense_steps, run_dense
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.schedule import Schedule
from fluxshard_core.sparse.shared_pass import SharedPass
from fluxshard_kernels.cpu.records import Kind


class TorchRunner:
    """Keeps nothing: what a frame needs beyond the caches lives as long as its pass."""

    def __init__(self) -> None:
        self.timings: dict[Kind, float] | None = None

    def dense(self, network: Network, image: torch.Tensor) -> None:
        """Compute every map from ``image`` ``(1, H, W, C)``."""
        run_dense(network, image)

    def blocks(
        self,
        networks: Sequence[Network],
        images: Sequence[torch.Tensor],
        schedules: Sequence[Schedule],
    ) -> list[int]:
        """Recompute the active tiles; those of several networks share every convolution."""
        grids = networks[0].grid
        if len(networks) > 1:
            together = {
                level: grid.select_together([schedule.active[level] for schedule in schedules])
                for level, grid in grids.items()
            }
            shared_pass = SharedPass(networks, together)
            shared_pass.run(images)
            return shared_pass.executed
        (network,), (image,), (schedule,) = networks, images, schedules
        block_pass = _block_pass(network, schedule)
        block_pass.run(image)
        return [block_pass.executed]

    def steps(
        self, network: Network, image: torch.Tensor, schedule: Schedule | None
    ) -> Iterator[None]:
        """Pause after every operator."""
        if schedule is None:
            return dense_steps(network, image)
        return _block_pass(network, schedule).steps(image)


def _block_pass(network: Network, schedule: Schedule) -> BlockPass:
    grids = network.grid
    return BlockPass(
        network, {level: grids[level].select(on) for level, on in schedule.active.items()}
    )
