"""Build the modules of a catalogue model through ultralytics."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fluxshard_core.models.catalog import ModelName, Task
from fluxshard_core.models.quiet_import import import_ultralytics

_FAMILY_DIRECTORY = {"yolo11": "11", "yolov8": "v8"}
_BUILD_LOCK = threading.Lock()
DEFAULT_KEYPOINT_SHAPE = (17, 3)


def build_model(
    name: ModelName,
    num_classes: int,
    keypoint_shape: tuple[int, int] = DEFAULT_KEYPOINT_SHAPE,
) -> nn.Module:
    """Build the un-fused ultralytics model, in eval mode, with arbitrary weights.

    The caller's torch random state is left as it was.
    """
    tasks = import_ultralytics("ultralytics.nn.tasks")
    config = _config(name)
    # Building draws from torch's global generator, which two threads must not fork at once.
    with _BUILD_LOCK, torch.random.fork_rng(devices=[]):
        model: nn.Module
        if name.task is Task.POSE:
            model = tasks.PoseModel(
                config, nc=num_classes, data_kpt_shape=keypoint_shape, verbose=False
            )
        elif name.task is Task.SEGMENT:
            model = tasks.SegmentationModel(config, nc=num_classes, verbose=False)
        else:
            model = tasks.DetectionModel(config, nc=num_classes, verbose=False)
    return model.eval()


def fuse_model(model: nn.Module) -> nn.Module:
    """Fold every BatchNorm into its convolution, in place."""
    with torch.no_grad():
        fused: nn.Module = model.fuse(verbose=False)  # type: ignore[operator]
    return fused


def coco_names() -> tuple[str, ...]:
    """The 80 COCO class names in the order the pretrained models use."""
    utils = import_ultralytics("ultralytics.utils")
    names: dict[int, str] = utils.YAML.load(Path(utils.ROOT) / "cfg/datasets/coco.yaml")["names"]
    return tuple(names[i] for i in range(len(names)))


def _config(name: ModelName) -> dict[str, Any]:
    """The model's YAML from the package itself: ultralytics would also look in the cwd."""
    utils = import_ultralytics("ultralytics.utils")
    directory = Path(utils.ROOT) / "cfg/models" / _FAMILY_DIRECTORY[name.family]
    config: dict[str, Any] = utils.YAML.load(directory / f"{name.family}{name.task.value}.yaml")
    return config | {"scale": name.scale}
