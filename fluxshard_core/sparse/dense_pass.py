"""The whole network on the whole frame; leaves the caches as any other pass would."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from fluxshard_core.sparse.binding import IslandStep, WindowStep
from fluxshard_core.sparse.network import Network
from fluxshard_core.sparse.operators import WholeWindowOperator


def run_dense(network: Network, image: torch.Tensor) -> None:
    """Compute every map from ``image`` ``(1, H, W, C)`` and write the cached ones."""
    for _ in dense_steps(network, image):
        pass


def dense_steps(network: Network, image: torch.Tensor) -> Iterator[None]:
    """As :func:`run_dense`, with a pause after every operator."""
    values: dict[str, torch.Tensor] = {}
    (source,) = network.plan.inputs
    _keep(network, values, source, image)
    for step in network.steps:
        if isinstance(step, WindowStep):
            assert isinstance(step.operator, WholeWindowOperator)
            store = network.cache[step.source]
            _keep(network, values, step.output, step.operator.dense(values[step.source], store))
        elif isinstance(step, IslandStep):
            outputs = step.operator.dense(*(values[name] for name in step.node.inputs))
            for name, value in zip(step.node.outputs, outputs, strict=True):
                _keep(network, values, name, value)
        else:
            inputs = [values[name] for name in step.sources]
            _keep(network, values, step.output, step.operator.apply(*inputs))
        for name in step.dying:
            del values[name]
        yield


def _keep(
    network: Network, values: dict[str, torch.Tensor], name: str, value: torch.Tensor
) -> None:
    values[name] = value
    if name not in network.level:
        network.vectors[name] = value
    elif store := network.cache.get(name):
        store.write(value)
