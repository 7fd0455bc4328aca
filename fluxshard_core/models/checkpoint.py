"""Read a weight file into tensors and what it says about its model, running no code of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from fluxshard_core.errors import InputError, WeightsError
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.inert_unpickling import Record, load_inert

_MAX_DEPTH = 32  # of nested modules; ultralytics' models have about 8


@dataclass(frozen=True)
class Checkpoint:
    """The content of a weight file; ``class_names`` is ``None`` where the file names no classes."""

    name: ModelName
    tensors: dict[str, Tensor]
    class_names: tuple[str, ...] | None = None
    keypoint_shape: tuple[int, int] | None = None


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a ``.safetensors`` or ultralytics ``.pt`` file.

    :raises WeightsError: for another suffix, a damaged file, a file that holds anything but
        tensors and known module records, or one that does not say which model it is.
    """
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix == ".pt":
        return _read_pt(path)
    raise WeightsError(f"{path}: weights must be a .safetensors or .pt file")


def _read_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read as safetensors: {error}") from error
    return Checkpoint(
        name=_model_name(path, metadata.get("architecture")),
        tensors=tensors,
        class_names=_names_from_json(path, metadata["names"]) if "names" in metadata else None,
    )


def _read_pt(path: Path) -> Checkpoint:
    content = load_inert(path)
    if isinstance(content, Mapping) and content and _all_tensors(content):
        return Checkpoint(_model_name(path, None), dict(content))
    model = (content.get("ema") or content.get("model")) if isinstance(content, dict) else None
    if not isinstance(model, Record):
        raise WeightsError(f"{path} holds no ultralytics model and no state dict")
    tensors: dict[str, Tensor] = {}
    _collect_tensors(model, "", tensors, path, depth=0)
    config = model.__dict__.get("yaml")
    config = config if isinstance(config, dict) else {}
    return Checkpoint(
        name=_model_name(path, _architecture_from_config(config)),
        tensors=tensors,
        class_names=_names_from_mapping(model.__dict__.get("names")),
        keypoint_shape=_keypoint_shape(config.get("kpt_shape")),
    )


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _collect_tensors(
    module: Record, prefix: str, tensors: dict[str, Tensor], path: Path, depth: int
) -> None:
    """Walk module records as ``nn.Module.state_dict`` walks modules."""
    if depth > _MAX_DEPTH:
        raise WeightsError(f"{path} nests modules deeper than {_MAX_DEPTH}: not a YOLO model")
    state = module.__dict__
    transient = state.get("_non_persistent_buffers_set", ())
    for group in ("_parameters", "_buffers"):
        for key, value in (state.get(group) or {}).items():
            if isinstance(value, Tensor) and key not in transient:
                tensors[f"{prefix}{key}"] = value.detach()
    for key, child in (state.get("_modules") or {}).items():
        if isinstance(child, Record):
            _collect_tensors(child, f"{prefix}{key}.", tensors, path, depth + 1)


def _architecture_from_config(config: dict[Any, Any]) -> str | None:
    """``yolo11n-seg`` from ``yaml_file: .../yolo11-seg.yaml`` and ``scale: n``."""
    stem = Path(str(config.get("yaml_file", ""))).stem
    scale = str(config.get("scale", ""))
    for family in ("yolo11", "yolov8"):
        if stem == family or stem.startswith(f"{family}-"):
            return f"{family}{scale}{stem.removeprefix(family)}"
    return stem or None


def _model_name(path: Path, stated: str | None) -> ModelName:
    """The model a file says it is, else the one its file name says."""
    errors: list[str] = []
    for source, text in (("its metadata", stated), ("its file name", path.stem)):
        if text is None:
            continue
        try:
            return ModelName.parse(text)
        except InputError as error:
            errors.append(f"{source}: {error}")
    raise WeightsError(
        f"{path} does not say which model it is ({'; '.join(errors)}): "
        "rename it to NAME.pt or NAME.safetensors with a known model NAME"
    )


def _names_from_json(path: Path, text: str) -> tuple[str, ...]:
    try:
        names = json.loads(text)
    except ValueError as error:
        raise WeightsError(f"{path}: its class names are not JSON: {error}") from error
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WeightsError(f"{path}: its class names are not a JSON list of strings")
    return tuple(names)


def _names_from_mapping(names: object) -> tuple[str, ...] | None:
    if not isinstance(names, dict) or sorted(names) != list(range(len(names))):
        return None
    return tuple(str(names[i]) for i in range(len(names)))


def _keypoint_shape(value: object) -> tuple[int, int] | None:
    if isinstance(value, list | tuple) and len(value) == 2:
        return int(value[0]), int(value[1])
    return None
