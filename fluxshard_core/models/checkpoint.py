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
from fluxshard_core.models.catalog import FAMILIES, ModelName
from fluxshard_core.models.inert_unpickling import Record, load_inert, mapping_attribute

_MAX_MODULES = 10_000  # yolo11x-seg has about 700


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
    config = mapping_attribute(model, "yaml")
    return Checkpoint(
        name=_model_name(path, _architecture_from_config(config)),
        tensors=_state_dict(model, path),
        class_names=_names_from_mapping(mapping_attribute(model, "names")),
        keypoint_shape=_keypoint_shape(config.get("kpt_shape")),
    )


def _all_tensors(content: Mapping[Any, Any]) -> bool:
    return all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())


def _state_dict(model: Record, path: Path) -> dict[str, Tensor]:
    """Walk module records as ``nn.Module.state_dict`` walks modules."""
    tensors: dict[str, Tensor] = {}
    pending = [("", model)]
    for _ in range(_MAX_MODULES):
        if not pending:
            return tensors
        prefix, module = pending.pop()
        for group in ("_parameters", "_buffers", "_modules"):
            for key, value in mapping_attribute(module, group).items():
                if isinstance(value, Tensor):
                    tensors[f"{prefix}{key}"] = value.detach()
                elif isinstance(value, Record):
                    pending.append((f"{prefix}{key}.", value))
    raise WeightsError(f"{path} holds more than {_MAX_MODULES} modules: not a YOLO model")


def _architecture_from_config(config: Mapping[Any, Any]) -> str | None:
    """``yolo11n-seg`` from ``yaml_file: .../yolo11-seg.yaml`` and ``scale: n``."""
    stem = Path(str(config.get("yaml_file", ""))).stem
    scale = str(config.get("scale", ""))
    for family in FAMILIES:
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


def _names_from_mapping(names: Mapping[Any, Any]) -> tuple[str, ...] | None:
    if not names or set(names) != set(range(len(names))):
        return None
    return tuple(str(names[i]) for i in range(len(names)))


def _keypoint_shape(value: object) -> tuple[int, int] | None:
    if isinstance(value, list | tuple) and len(value) == 2 and all(type(v) is int for v in value):
        return value[0], value[1]
    return None
