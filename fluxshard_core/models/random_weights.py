"""Seeded random weights that keep activations near unit variance and detect a little."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import torch
from torch import Tensor, nn

from fluxshard_core.models.network import Network

CONFIDENCE = 0.25  # above which one cell in 250 has a class
CELL_RATE = 0.004
# SiLU is nearly linear around this mean. Centred on 0, sixty random layers are chaotic: an image
# unlike the one used for calibration grows a little in each and leaves with huge activations.
ACTIVATION_INPUT_MEAN = 2.5
_CALIBRATION_SIDE = 256
_MIN_STD = 1e-3

_Convolution = nn.Conv2d | nn.ConvTranspose2d


def draw_weights(model: nn.Module, seed: int) -> dict[str, Tensor]:
    """Draw a fused model's state dict: uniform weights, zero biases.

    NumPy's PCG64 gives the same bits on every machine; torch's generator does not promise to.
    """
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn: dict[str, Tensor] = {}
    for key, value in model.state_dict().items():
        if key.endswith("dfl.conv.weight"):
            drawn[key] = value  # the bin numbers 0..reg_max-1, not learned
        elif key.endswith(".bias"):
            drawn[key] = torch.zeros_like(value)
        else:
            uniform = generator.random(tuple(value.shape), dtype=np.float32)
            drawn[key] = torch.from_numpy(uniform - np.float32(0.5))
    return drawn


@torch.no_grad()
def calibrate(network: Network, seed: int) -> None:
    """Scale and shift each convolution so that its output channels have variance 1, layer by layer.

    One pass over a synthetic image (layer-sequential unit variance, Mishkin and Matas, 2016). The
    mean becomes ``ACTIVATION_INPUT_MEAN`` before an activation, low for class logits, else 0.
    """
    class_mean = _class_logit_mean(network.layout.num_classes)
    means: dict[nn.Module, float] = dict.fromkeys(network.class_convolutions(), class_mean)
    for module in network.modules():
        if isinstance(getattr(module, "act", None), nn.SiLU):
            means[module.get_submodule("conv")] = ACTIVATION_INPUT_MEAN
    handles = [
        module.register_forward_hook(_normaliser(means.get(module, 0.0)))
        for module in network.modules()
        if isinstance(module, _Convolution)
    ]
    try:
        network(_calibration_image(seed))
    finally:
        for handle in handles:
            handle.remove()


def _class_logit_mean(num_classes: int) -> float:
    """The mean at which ``CELL_RATE`` of the cells have a class above ``CONFIDENCE``."""
    margin = NormalDist().inv_cdf(1.0 - CELL_RATE / num_classes)
    return math.log(CONFIDENCE / (1.0 - CONFIDENCE)) - margin


def _normaliser(mean: float) -> Callable[[_Convolution, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(convolution: _Convolution, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        std, average = torch.std_mean(output, dim=(0, 2, 3))
        gain = 1.0 / std.clamp_min(_MIN_STD)
        shape = (1, -1, 1, 1)
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        convolution.weight.mul_(gain.view(shape if transposed else (-1, 1, 1, 1)))
        bias = mean - average * gain
        convolution.bias = nn.Parameter(bias, requires_grad=False)
        return output * gain.view(shape) + bias.view(shape)

    return hook


def _calibration_image(seed: int) -> Tensor:
    """``(1, 3, 256, 256)`` in [0, 1]: blocks of noise at every scale, a little like a scene."""
    generator = np.random.Generator(np.random.PCG64(seed))
    image = np.zeros((1, 3, _CALIBRATION_SIDE, _CALIBRATION_SIDE), dtype=np.float32)
    blocks = (128, 64, 32, 16, 8, 4)
    for block in blocks:
        cells = _CALIBRATION_SIDE // block
        noise = generator.random((1, 3, cells, cells), dtype=np.float32)
        image += noise.repeat(block, axis=2).repeat(block, axis=3) / len(blocks)
    return torch.from_numpy(image)
