"""The parameters of both nodes that choose and load the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxshard_core.errors import InputError
from fluxshard_core.models.detector import Detector
from fluxshard_ros.parameters import ParameterSpec

MODEL_PARAMETERS = (
    ParameterSpec(
        "model",
        "yolo11n",
        "Model name (yolo11n, yolo11s-seg, yolo11m-pose, ...) or a path to .pt or .safetensors",
    ),
    ParameterSpec(
        "input_size",
        [0, 0],
        "Network input as [height, width], multiples of 32; [0, 0] follows the camera's size",
    ),
    ParameterSpec("threads", 0, "CPU threads of one inference; 0 for all", minimum=0, maximum=1024),
    ParameterSpec(
        "random_seed",
        -1,
        "Use random weights made from this seed instead of trained ones; -1 to load weights",
        minimum=-1,
        maximum=2**31 - 1,
    ),
)

AUTOSTART = ParameterSpec(
    "autostart", True, "Configure and activate at once; false leaves both to a lifecycle manager"
)


def load_detector(values: Mapping[str, Any]) -> Detector:
    """Load the detector the parameters describe; raise ``FluxShardError`` when they cannot be."""
    size = tuple(values["input_size"])
    if len(size) != 2:
        raise InputError(f"input_size is {list(size)}; it must be [height, width]")
    seed = values["random_seed"]
    return Detector.load(
        values["model"],
        input_size=None if size == (0, 0) else (size[0], size[1]),
        random_seed=None if seed < 0 else seed,
        threads=values["threads"] or None,
    )
