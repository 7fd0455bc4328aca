"""From a checkpoint or a seed to a ready network."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fluxshard_core.errors import WeightsError
from fluxshard_core.models.architecture import (
    DEFAULT_KEYPOINT_SHAPE,
    build_model,
    coco_names,
    fuse_model,
)
from fluxshard_core.models.catalog import ModelName, Task
from fluxshard_core.models.checkpoint import Checkpoint
from fluxshard_core.models.network import Network
from fluxshard_core.models.random_weights import calibrate, draw_weights

_SHOWN_MISMATCHES = 4


@dataclass(frozen=True)
class LoadedModel:
    """A network with what is known about it; ``hash`` is 64 hex digits of SHA-256."""

    name: ModelName
    network: Network
    class_names: tuple[str, ...]
    hash: str


def load_checkpoint(checkpoint: Checkpoint, source: str) -> LoadedModel:
    """Build the checkpoint's model and fill it, fusing BatchNorm if the checkpoint has not.

    :raises WeightsError: naming the first tensors that are missing, unexpected or misshapen.
    """
    num_classes = _count_classes(checkpoint, source)
    keypoint_shape = checkpoint.keypoint_shape or DEFAULT_KEYPOINT_SHAPE
    model = build_model(checkpoint.name, num_classes, keypoint_shape)
    fused = not any(".bn." in key for key in checkpoint.tensors)
    if fused:
        model = fuse_model(model)
    _load_strictly(model, checkpoint.tensors, f"{source} as {checkpoint.name}")
    network = Network(model if fused else fuse_model(model))
    names = checkpoint.class_names or default_class_names(num_classes)
    if len(names) != num_classes:
        raise WeightsError(f"{source} names {len(names)} classes but predicts {num_classes}")
    digest = _digest(checkpoint.name, checkpoint.tensors)
    return LoadedModel(checkpoint.name, network, names, digest)


def random_model(name: ModelName, seed: int) -> LoadedModel:
    """Build a model with seeded random weights; no file is read."""
    num_classes = 1 if name.task is Task.POSE else 80
    model = fuse_model(build_model(name, num_classes))
    tensors = draw_weights(model, seed)
    model.load_state_dict(tensors)
    network = Network(model)
    calibrate(network, seed)
    return LoadedModel(name, network, default_class_names(num_classes), _digest(name, tensors))


def default_class_names(num_classes: int) -> tuple[str, ...]:
    """COCO's names for 80 classes, ``person`` for one, numbered classes otherwise."""
    if num_classes == 80:
        return coco_names()
    if num_classes == 1:
        return ("person",)
    return tuple(f"class {i}" for i in range(num_classes))


def _count_classes(checkpoint: Checkpoint, source: str) -> int:
    """The output channels of the head's first class branch, ``model.HEAD.cv3.0.2``."""
    for key, tensor in checkpoint.tensors.items():
        if key.endswith(".cv3.0.2.bias"):
            return int(tensor.shape[0])
    raise WeightsError(f"{source} has no detection head (no '*.cv3.0.2.bias' tensor)")


def _load_strictly(model: nn.Module, tensors: Mapping[str, Tensor], what: str) -> None:
    expected = model.state_dict()
    problems = [f"missing {key}" for key in expected if key not in tensors]
    problems += [f"unexpected {key}" for key in tensors if key not in expected]
    problems += [
        f"{key} is {_describe(tensors[key])}, expected {_describe(value)}"
        for key, value in expected.items()
        if key in tensors and _describe(tensors[key]) != _describe(value)
    ]
    if problems:
        more = len(problems) - _SHOWN_MISMATCHES
        tail = f"; and {more} more" if more > 0 else ""
        raise WeightsError(
            f"the weights do not fit {what}: {'; '.join(problems[:_SHOWN_MISMATCHES])}{tail}"
        )
    floats = {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in tensors.items()}
    model.load_state_dict(floats)


def _describe(tensor: Tensor) -> str:
    kind = "float" if tensor.is_floating_point() else "integer"
    return f"{kind} {tuple(tensor.shape)}"


def _digest(name: ModelName, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over the architecture and the tensors as stored, so machines agree on it.

    Fusing and calibrating come after: their last bits may differ between processors.
    """
    digest = hashlib.sha256(str(name).encode())
    for key in sorted(tensors):
        tensor = tensors[key].contiguous()
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
