"""Find the weight file of a model: a path, $FLUXSHARD_HOME, the cache, the download."""

from __future__ import annotations

import os
from pathlib import Path

from fluxshard_core.errors import WeightsError
from fluxshard_core.models.catalog import ModelName
from fluxshard_core.models.download import cached_weights, download_weights

WEIGHT_SUFFIXES = (".safetensors", ".pt")
HOME_VARIABLE = "FLUXSHARD_HOME"


def is_weight_path(name_or_path: str) -> bool:
    """Whether the text names a file rather than a model of the catalogue."""
    return Path(name_or_path).suffix in WEIGHT_SUFFIXES or os.sep in name_or_path


def find_weights(name_or_path: str | Path) -> Path:
    """Return the weight file of a model name, or the file itself when given a path.

    A name is looked up as ``$FLUXSHARD_HOME/weights/NAME.safetensors``, then ``NAME.pt`` there,
    then in the download cache, then downloaded by ultralytics.

    :raises WeightsError: listing every place that was tried and why it failed.
    :raises InputError: for a name outside the catalogue.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or is_weight_path(text):
        return _explicit(Path(text).expanduser())
    name = ModelName.parse(text)
    tried: list[str] = []
    home = os.environ.get(HOME_VARIABLE)
    if home:
        for suffix in WEIGHT_SUFFIXES:
            path = Path(home).expanduser() / "weights" / f"{name}{suffix}"
            if path.is_file():
                return path
            tried.append(f"{path}: no such file")
    else:
        tried.append(f"${HOME_VARIABLE}/weights: {HOME_VARIABLE} is not set")
    cached = cached_weights(name)
    if cached.is_file():
        return cached
    tried.append(f"{cached}: no such file")
    try:
        return download_weights(name)
    except WeightsError as error:
        tried.append(str(error))
    raise WeightsError(
        f"no weights for {name}. Tried:\n"
        + "\n".join(f"  - {line}" for line in tried)
        + f"\nPut {name}.pt or {name}.safetensors into ${HOME_VARIABLE}/weights, give the path of "
        "the file instead of the name, or connect to the internet for the download."
    )


def _explicit(path: Path) -> Path:
    if path.suffix not in WEIGHT_SUFFIXES:
        raise WeightsError(f"{path}: weights must be a .safetensors or .pt file")
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    return path
