"""What a frame costs one machine by compute ratio: measured once, saved, read back."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import yaml

from fluxshard_core.errors import InputError

VERSION: Final = 1
_MAX_BYTES: Final = 1 << 20


class ProfileError(InputError):
    """A latency profile that cannot be read, or is for something else."""


@dataclass(frozen=True)
class LatencyProfile:
    """Milliseconds a sparse frame takes at rising compute ratios, medians on one machine.

    ``ratios`` ascending, executed over dense multiply-accumulates; ``ms`` as many, ascending too;
    ``dense_ms`` is a frame computed whole. ``model_hash`` is that of architecture and weights,
    ``size`` the ``(height, width)`` of the input, ``threads`` what PyTorch ran on.
    """

    model: str
    model_hash: str
    size: tuple[int, int]
    machine: str
    threads: int
    ratios: tuple[float, ...]
    ms: tuple[float, ...]
    dense_ms: float
    version: int = VERSION

    def __post_init__(self) -> None:
        """Check that the points make a curve.

        :raises ProfileError: if they do not, or the version is another.
        """
        if self.version != VERSION:
            raise ProfileError(
                f"latency profile of version {self.version}, this build reads {VERSION}: "
                "make it again with `fluxshard profile`"
            )
        points = np.array([*self.ratios, *self.ms, self.dense_ms])
        if not self.ratios or len(self.ratios) != len(self.ms):
            raise ProfileError(f"{len(self.ratios)} ratios for {len(self.ms)} latencies")
        if not (np.isfinite(points).all() and (points > 0).all()):
            raise ProfileError("a latency profile's ratios and latencies must be positive")
        if any(np.diff(self.ratios) <= 0) or any(np.diff(self.ms) < 0):
            raise ProfileError("a latency profile's ratios and latencies must rise")

    def sparse_ms(self, ratio: float) -> float:
        """Return the milliseconds of a sparse frame of compute ``ratio``: linear between the
        measured points, the nearest one's beyond them."""
        return float(np.interp(ratio, self.ratios, self.ms))

    def frame_ms(self, ratio: float, *, dense: bool) -> float:
        """Return the milliseconds of a frame computed whole, or else at ``ratio``."""
        return self.dense_ms if dense else self.sparse_ms(ratio)

    def check_model(self, model_hash: str, size: tuple[int, int]) -> None:
        """Raise ``ProfileError`` unless the profile was made of this model at this input size."""
        if model_hash != self.model_hash or size != self.size:
            raise ProfileError(
                f"the latency profile is of {self.model} ({self.model_hash}) at "
                f"{self.size[1]}x{self.size[0]}, not of {model_hash} at {size[1]}x{size[0]}: make "
                "one with `fluxshard profile`"
            )

    def save(self, path: Path) -> None:
        """Write the profile as YAML."""
        fields = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self).items()
        }
        path.write_text(yaml.safe_dump(fields, sort_keys=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> LatencyProfile:
        """Read what :meth:`save` wrote.

        :raises ProfileError: if there is no such file or it is not a profile.
        """
        try:
            text = path.read_bytes()[: _MAX_BYTES + 1]
            if len(text) > _MAX_BYTES:
                raise ProfileError(f"{path} is larger than {_MAX_BYTES} bytes: not a profile")
            fields: Any = yaml.safe_load(text)
            return msgspec.convert(fields, cls)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
            raise ProfileError(f"{path} is not a latency profile: {error}") from error


def monotone(ratios: list[float], ms: list[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return measured points as a curve: by ratio, each latency at least the one before it.

    More work is never faster; where a measurement says so it was disturbed.
    """
    if not ratios or not all(math.isfinite(value) for value in (*ratios, *ms)):
        raise ProfileError("no latencies were measured")
    best: dict[float, float] = {}
    for ratio, spent in zip(ratios, ms, strict=True):
        best[ratio] = min(spent, best.get(ratio, math.inf))
    order = sorted(best)
    rising = np.maximum.accumulate([best[ratio] for ratio in order])
    return tuple(order), tuple(float(value) for value in rising)
